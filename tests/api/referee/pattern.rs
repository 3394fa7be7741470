//! Globs by trying every way to share a text out, and a few regular expressions by what they mean.

/// Globs that the matcher below understands: `?`, `*`, `[ab]`, `[!ab]`, `[a-c]`, `{a,b}` and plain characters.
pub(super) const GLOBS: [&str; 14] = [
    "*", "", "a*", "?", "*b", "[ab]*", "[!a]", "a?b", "A", "{a,ab}", "{a,B}*", "*/*", "[a-c]?",
    "\u{e9}*",
];

/// Globs that are none.
pub(super) const NO_GLOBS: [&str; 2] = ["[", "{a"];

type Meaning = fn(&str) -> bool;

/// Regular expressions, and what they mean.
pub(super) const REGEXES: [(&str, Meaning); 10] = [
    ("", |_| true),
    ("b$", |text| text.ends_with('b')),
    ("^a", |text| text.starts_with('a')),
    ("(?i)^b", |text| text.starts_with(['b', 'B'])),
    ("^.$", |text| text.chars().count() == 1 && text != "\n"),
    ("[^a-z]", |text| {
        text.contains(|found: char| !found.is_ascii_lowercase())
    }),
    ("^(a|ab)$", |text| text == "a" || text == "ab"),
    ("a.*b", |text| {
        text.split('\n').any(|line| {
            let first = line.find('a');
            let last = line.rfind('b');
            first.zip(last).is_some_and(|(first, last)| first < last)
        })
    }),
    ("(?s)^.{2,}$", |text| text.chars().count() >= 2),
    ("\\s", |text| text.contains(char::is_whitespace)),
];

/// Regular expressions that are none, or none that takes linear time.
pub(super) const NO_REGEXES: [&str; 3] = ["[", "(?=a)", "(a)\\1"];

pub(super) fn glob(glob: &str, text: &str, fold: bool) -> bool {
    let letters = |text: &str| match fold {
        true => text.to_lowercase().chars().collect::<Vec<_>>(),
        false => text.chars().collect(),
    };
    fits(&letters(glob), &letters(text))
}

pub(super) fn regex(pattern: &str, text: &str) -> bool {
    match REGEXES.iter().find(|(known, _)| *known == pattern) {
        Some((_, meaning)) => meaning(text),
        // Of letters, digits and hyphens only.
        None => text.contains(pattern),
    }
}

fn fits(glob: &[char], text: &[char]) -> bool {
    match glob {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|at| fits(rest, &text[at..])),
        ['?', rest @ ..] => !text.is_empty() && fits(rest, &text[1..]),
        ['{', inner @ ..] => {
            let end = inner
                .iter()
                .position(|one| *one == '}')
                .expect("closed braces");
            let (choices, rest) = (&inner[..end], &inner[end + 1..]);
            choices
                .split(|one| *one == ',')
                .any(|choice| fits(&[choice, rest].concat(), text))
        }
        ['[', class @ ..] => {
            let end = class
                .iter()
                .position(|one| *one == ']')
                .expect("a closed class");
            let (class, rest) = (&class[..end], &class[end + 1..]);
            let (negated, class) = match class {
                ['!', class @ ..] => (true, class),
                class => (false, class),
            };
            let has = |found: &char| match class {
                [first, '-', last] => (first..=last).contains(&found),
                class => class.contains(found),
            };
            text.split_first()
                .is_some_and(|(first, after)| has(first) != negated && fits(rest, after))
        }
        [one, rest @ ..] => text.first() == Some(one) && fits(rest, &text[1..]),
    }
}
