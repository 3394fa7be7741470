//! Damage to a whole store: any object of two flushed namespaces is flipped, cut, taken away or swapped with
//! another, also of the other namespace. The engine must name it or answer as before, and a check must find it.
//!
//! What nothing refers to cannot be missed: a name without its only record is no name, and a log without its newest
//! slot ends earlier. The first is left out here; of the second the answers must be of an earlier state.
//!
//! `ELACSYM_TEST_DAMAGE=2000` runs more cases, `ELACSYM_TEST_DAMAGE_SEED` others.

mod library;

use std::collections::BTreeMap;

use elacsym::error::{Error, ErrorKind};
use library::{Answers, Library};

use crate::objects::kind_of;

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
    /// `None`: it is taken away.
    objects: BTreeMap<String, Option<Vec<u8>>>,
}

impl Damage {
    /// Whether an object of a kind was taken away.
    fn takes(&self, kind: &str) -> bool {
        let mut taken = self.objects.iter().filter(|(_, bytes)| bytes.is_none());
        taken.any(|(key, _)| kind_of(key) == kind)
    }
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
    match random.below(5) {
        0 | 1 => {
            let (at, mask) = (random.below(bytes.len()), 1 + random.below(255));
            bytes[at] ^= mask as u8;
            Damage {
                what: format!("{key}: byte {at} xor {mask:#x}"),
                objects: [(key, Some(bytes))].into(),
            }
        }
        2 => {
            let length = random.below(bytes.len());
            bytes.truncate(length);
            Damage {
                what: format!("{key}: cut to {length}"),
                objects: [(key, Some(bytes))].into(),
            }
        }
        3 if kind_of(&key) != "name" => Damage {
            what: format!("{key}: taken away"),
            objects: [(key, None)].into(),
        },
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
                objects: [(key, Some(theirs)), (other, Some(bytes))].into(),
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
    let (mut named, mut harmless, mut earlier, mut same) = (0, 0, 0, 0);
    let mut wrong = Vec::new();
    for case in 0..cases {
        let damage = damage(&library, &mut random);
        let changed: Vec<&String> = damage
            .objects
            .iter()
            .filter(|(key, bytes)| Some(&library.objects()[*key]) != bytes.as_ref())
            .map(|(key, _)| key)
            .collect();
        if changed.is_empty() {
            same += 1;
            continue;
        }
        library.write(&damage.objects);
        let answers = library.ask();
        let found = library.check();
        let marked = library.take_marks();
        library.restore(damage.objects.keys());
        let judged = judge(&before, &answers, &damage);
        match &judged {
            Ok(Seen::Named) => named += 1,
            Ok(Seen::Nothing) => harmless += 1,
            Ok(Seen::Earlier) => earlier += 1,
            Err(fault) => wrong.push(format!("case {case}, {}: {fault}", damage.what)),
        }
        let advisory = changed.iter().all(|key| is_advisory(key));
        let told = changed.iter().any(|key| found.contains(*key));
        // Nothing refers to a manifest, nor to a slot that no reader of any manifest needs; the newest is not missed.
        let may_go = damage.takes("manifest")
            || damage.takes("slot") && changed.iter().all(|key| is_newest(&library, key))
            || damage.takes("slot") && matches!(judged, Ok(Seen::Nothing));
        let is_named = matches!(judged, Ok(Seen::Named));
        if is_named && marked.is_empty() {
            let what = &damage.what;
            wrong.push(format!("case {case}, {what}: nothing was marked"));
        }
        if !advisory && !told && !may_go {
            wrong.push(format!(
                "case {case}, {}: the check finds {found:?}",
                damage.what
            ));
        }
    }
    println!(
        "| dev | {seed} | {cases} | {named} | {harmless} | {earlier} | {same} | {} |",
        wrong.len()
    );
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
}

/// What a damage came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It was named.
    Named,
    /// Nobody noticed, and nothing was wrong.
    Nothing,
    /// A slot is gone, and the log ends before it.
    Earlier,
}

/// Whether a slot is the last of its log.
fn is_newest(library: &Library, key: &str) -> bool {
    let log = key.split("/wal/").next().unwrap_or_default();
    let of_log = |other: &&String| other.starts_with(log) && kind_of(other) == "slot";
    let last = library.objects().keys().rfind(of_log);
    last.is_some_and(|last| last == key)
}

fn judge(before: &Answers, after: &Answers, damage: &Damage) -> Result<Seen, String> {
    let mut seen = Seen::Nothing;
    for (question, (before, after)) in before.iter().zip(after).enumerate() {
        let whole = before.as_ref().ok();
        match after {
            Err(error) if names_it(error, damage) => seen = Seen::Named,
            Err(error) => {
                let kind = error.kind();
                return Err(format!("question {question}: {kind:?}: {}", error.chain()));
            }
            Ok(found) if Some(found) == whole => {}
            Ok(found)
                if damage.takes("slot") && whole.is_some_and(|whole| found.seq < whole.seq) =>
            {
                seen = Seen::Earlier;
            }
            Ok(found) => {
                let n_rows = found.rows.len();
                return Err(format!(
                    "question {question}: a wrong answer of {n_rows} rows"
                ));
            }
        }
    }
    Ok(seen)
}
