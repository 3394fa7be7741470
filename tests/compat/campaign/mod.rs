//! Damage to a whole store: any object of a flushed namespace is flipped, cut or swapped with another. The engine
//! must name it or answer as before, and a check of the store must find it.
//!
//! `ELACSYM_TEST_DAMAGE=2000` runs more cases, `ELACSYM_TEST_DAMAGE_SEED` others.

mod library;

use std::collections::BTreeMap;

use elacsym::error::{Error, ErrorKind};
use library::{Answers, Library};

/// Cases of the test command.
const CASES: u64 = 100;
const SEED: u64 = 20_260_101;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % bound as u64) as usize
    }
}

/// Objects with other bytes, and in words what was done to them.
struct Damage {
    what: String,
    objects: BTreeMap<String, Vec<u8>>,
}

/// What a key is, for the counts.
fn kind_of(key: &str) -> &'static str {
    const KINDS: [(&str, &str); 8] = [
        ("/wal/", "slot"),
        ("/manifest/", "manifest"),
        (".parquet", "parquet"),
        (".idx", "idx"),
        (".dvs", "dvs"),
        ("/head", "head"),
        ("~hint", "hint"),
        ("/genesis", "genesis"),
    ];
    let found = KINDS.iter().find(|(part, _)| key.contains(part));
    found.map_or("record", |(_, kind)| kind)
}

/// A copy that is passed over where it is damaged.
fn is_advisory(key: &str) -> bool {
    key.ends_with("/head") || key.ends_with("~hint")
}

fn damage(library: &Library, random: &mut Random) -> Damage {
    // A kind first: slots are many.
    let mut kinds: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for key in library.objects().keys() {
        kinds.entry(kind_of(key)).or_default().push(key);
    }
    let of_kind = |random: &mut Random| {
        let keys = kinds.values().nth(random.below(kinds.len()));
        let keys = keys.expect("a kind below their number");
        keys[random.below(keys.len())].clone()
    };
    let key = of_kind(random);
    let mut bytes = library.objects()[&key].clone();
    match random.below(4) {
        0 | 1 => {
            let (at, mask) = (random.below(bytes.len()), 1 + random.below(255));
            bytes[at] ^= mask as u8;
            Damage {
                what: format!("{key}: byte {at} xor {mask:#x}"),
                objects: [(key, bytes)].into(),
            }
        }
        2 => {
            let length = random.below(bytes.len());
            bytes.truncate(length);
            Damage {
                what: format!("{key}: cut to {length}"),
                objects: [(key, bytes)].into(),
            }
        }
        _ => {
            // Of the same kind half of the time: such a swap looks right to any checksum inside.
            let peers = &kinds[kind_of(&key)];
            let other = match random.below(2) {
                0 => peers[random.below(peers.len())].clone(),
                _ => of_kind(random),
            };
            let theirs = library.objects()[&other].clone();
            Damage {
                what: format!("{key} and {other}: swapped"),
                objects: [(key, theirs), (other, bytes)].into(),
            }
        }
    }
}

/// Whether an error is one that damage may cause: it says that data is corrupt, and where.
fn names_it(error: &Error, damage: &Damage) -> bool {
    error.kind() == ErrorKind::Corrupted
        && error.code() == "data_corrupt"
        && damage
            .objects
            .keys()
            .any(|key| error.message().contains(key))
}

#[allow(
    clippy::disallowed_methods,
    reason = "how much a campaign runs; nothing of the program depends on it"
)]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn campaign_any_damaged_object_is_named_or_harmless() {
    let cases = setting("ELACSYM_TEST_DAMAGE").unwrap_or(CASES);
    let seed = setting("ELACSYM_TEST_DAMAGE_SEED").unwrap_or(SEED);
    let library = Library::build();
    let before = library.ask();
    let whole: Vec<_> = before.iter().filter(|answer| answer.is_err()).collect();
    assert!(whole.is_empty(), "the undamaged store: {whole:?}");
    let found = library.check();
    assert!(
        found.is_empty(),
        "a check of the undamaged store: {found:?}"
    );
    let kinds: Vec<&str> = library.objects().keys().map(|key| kind_of(key)).collect();
    for kind in ["slot", "manifest", "parquet", "idx", "dvs", "head", "hint"] {
        assert!(kinds.contains(&kind), "the store has no {kind}: {kinds:?}");
    }
    let mut random = Random(seed);
    let (mut named, mut harmless, mut same) = (0, 0, 0);
    let mut wrong = Vec::new();
    for case in 0..cases {
        let damage = damage(&library, &mut random);
        let changed: Vec<&String> = damage
            .objects
            .iter()
            .filter(|(key, bytes)| library.objects()[*key] != **bytes)
            .map(|(key, _)| key)
            .collect();
        if changed.is_empty() {
            same += 1;
            continue;
        }
        library.write(&damage.objects);
        let answers = library.ask();
        let found = library.check();
        library.restore(damage.objects.keys());
        match judge(&before, &answers, &damage) {
            Ok(true) => named += 1,
            Ok(false) => harmless += 1,
            Err(fault) => wrong.push(format!("case {case}, {}: {fault}", damage.what)),
        }
        let advisory = changed.iter().all(|key| is_advisory(key));
        let told = changed.iter().any(|key| found.contains(*key));
        if !advisory && !told {
            wrong.push(format!(
                "case {case}, {}: the check finds {found:?}",
                damage.what
            ));
        }
    }
    println!(
        "| dev | {seed} | {cases} | {named} | {harmless} | {same} | {} |",
        wrong.len()
    );
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
}

/// `true`: damage was named; `false`: nobody noticed, and nothing was wrong.
fn judge(before: &Answers, after: &Answers, damage: &Damage) -> Result<bool, String> {
    let mut named = false;
    for (question, (before, after)) in before.iter().zip(after).enumerate() {
        match after {
            Err(error) if names_it(error, damage) => named = true,
            Err(error) => {
                let kind = error.kind();
                return Err(format!("question {question}: {kind:?}: {}", error.chain()));
            }
            Ok(found) if Some(found) == before.as_ref().ok() => {}
            Ok(found) => {
                let n_rows = found.rows.len();
                return Err(format!(
                    "question {question}: a wrong answer of {n_rows} rows"
                ));
            }
        }
    }
    Ok(named)
}
