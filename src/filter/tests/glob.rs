//! Globs against a table of what `globset` says, and against a matcher that tries everything.

use proptest::prelude::*;

use crate::filter::pattern::{Pattern, Syntax};

fn glob(pattern: &str, fold_case: bool) -> Pattern {
    Pattern::compile(pattern, Syntax::Glob { fold_case }).expect(pattern)
}

#[test]
fn glob_of_table_matches_as_globset_does() {
    for (pattern, yes, no) in [
        ("", &[""][..], &["a", "\n"][..]),
        ("*", &["", "a/b", "\n"], &[]),
        ("a*c", &["ac", "a/b/c", "abcc"], &["a", "acb", "xac"]),
        ("*.rs", &["a.rs", ".rs", "x/y.rs"], &["a.rsx", "ars"]),
        ("a?c", &["abc", "a/c", "a\u{e9}c"], &["ac", "abbc"]),
        ("[ab]", &["a", "b"], &["c", "", "ab"]),
        ("[!ab]", &["c", "\u{e9}", "/"], &["a", ""]),
        ("[^a-c]x", &["dx"], &["bx"]),
        ("[]-]", &["]", "-"], &["a"]),
        ("[a-]", &["a", "-"], &["b"]),
        ("{ab,c*}", &["ab", "c", "cd"], &["a", "abc"]),
        ("x{a,{b,c}}y", &["xay", "xby", "xcy"], &["xy", "xaby"]),
        ("{,a}", &["a"], &[""]),
        ("a,b", &["a,b"], &["a", "b"]),
        ("a\\*", &["a*"], &["ab", "a\\*"]),
        ("a.+(b", &["a.+(b"], &["aa(b"]),
        ("**", &["", "a", "a/b"], &[]),
        ("**/a", &["a", "/a", "b/c/a"], &["ba", "a/b"]),
        ("a/**", &["a/", "a/b/c"], &["a", "ab"]),
        ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb"]),
        ("a**b", &["ab", "a/x/b"], &["a"]),
        ("A", &["A"], &["a"]),
    ] {
        let compiled = glob(pattern, false);
        for text in yes {
            assert!(compiled.matches(text), "{pattern} {text:?}");
            assert!(text.starts_with(compiled.prefix()), "{pattern} {text:?}");
        }
        for text in no {
            assert!(!compiled.matches(text), "{pattern} {text:?}");
        }
    }
    assert!(glob("a\u{c9}[b-c]", true).matches("A\u{e9}C"));
    assert_eq!(glob("a/b*", true).prefix(), "");
    assert_eq!(glob("ab/c*d", false).prefix(), "ab/c");
    assert_eq!(glob("ab/**/d", false).prefix(), "ab");
}

/// One thing a glob may hold, each with its own meaning.
#[derive(Debug, Clone)]
enum Piece {
    Text(&'static str),
    One,
    Any,
    Class(bool),
    Either(&'static str, &'static str),
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        prop::sample::select(vec!["a", "b", "/", "A", "."]).prop_map(Piece::Text),
        Just(Piece::One),
        Just(Piece::Any),
        any::<bool>().prop_map(Piece::Class),
        prop::sample::select(vec![("a", "bb"), ("", "b"), ("a/", ".")])
            .prop_map(|(one, other)| Piece::Either(one, other)),
    ]
}

fn written(piece: &Piece) -> String {
    match piece {
        Piece::Text(text) => (*text).to_owned(),
        Piece::One => "?".to_owned(),
        Piece::Any => "*".to_owned(),
        Piece::Class(false) => "[ab]".to_owned(),
        Piece::Class(true) => "[!ab]".to_owned(),
        Piece::Either(one, other) => format!("{{{one},{other}}}"),
    }
}

/// Tries every way to give each piece a part of the text.
fn fits(pieces: &[Piece], text: &[char]) -> bool {
    let Some((first, rest)) = pieces.split_first() else {
        return text.is_empty();
    };
    let takes = |part: &[char]| match first {
        Piece::Text(wanted) => part.iter().collect::<String>() == *wanted,
        Piece::One => part.len() == 1,
        Piece::Any => true,
        Piece::Class(negated) => part.len() == 1 && (part[0] == 'a' || part[0] == 'b') != *negated,
        // An empty alternative is none.
        Piece::Either(one, other) => {
            let part: String = part.iter().collect();
            !part.is_empty() && (part == *one || part == *other)
        }
    };
    (0..=text.len()).any(|at| takes(&text[..at]) && fits(rest, &text[at..]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn glob_of_any_pieces_equals_trying_everything(
        pieces in prop::collection::vec(piece(), 0..6),
        text in "[ab/A.\u{e9}\n]{0,6}",
    ) {
        // Two stars beside each other, or around a slash, would be about folders.
        let pattern: String = pieces.iter().map(written).collect();
        prop_assume!(!pattern.contains("**"));
        let chars: Vec<char> = text.chars().collect();
        let compiled = glob(&pattern, false);
        let found = compiled.matches(&text);
        prop_assert_eq!(found, fits(&pieces, &chars), "{} {:?}", pattern, text);
        prop_assert!(!found || text.starts_with(compiled.prefix()));
    }
}
