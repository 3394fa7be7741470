//! What requests mean, as naively as can be: the content before, the content after, what was done.

use std::collections::BTreeMap;

use elacsym::types::filter::CompareOp;

pub(crate) type Document = BTreeMap<&'static str, i64>;
pub(crate) type Content = BTreeMap<u64, Document>;
pub(crate) type Patch = BTreeMap<&'static str, Option<i64>>;

/// Documents that are written, patched and deleted.
pub(crate) const DOCUMENTS: u64 = 8;
/// The document that is only ever counted up, and its group, which no filter means.
pub(crate) const COUNTER: u64 = 100;
const COUNTERS: i64 = 1_000;
/// Rows that writes by filter may change.
pub(crate) const DELETED_MAX: usize = 3;
pub(crate) const PATCHED_MAX: usize = 2;

/// What a document's value is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operand {
    Is(i64),
    /// That of the new document.
    New(&'static str),
}

/// `[attribute, op, operand]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) attribute: &'static str,
    pub(crate) op: CompareOp,
    pub(crate) operand: Operand,
}

impl Test {
    fn holds(&self, document: &Document, new: &dyn Fn(&str) -> Option<i64>) -> bool {
        let current = document.get(self.attribute).copied();
        let operand = match self.operand {
            Operand::Is(value) => Some(value),
            Operand::New(name) => new(name),
        };
        match (self.op, operand) {
            (CompareOp::Eq, operand) => current == operand,
            (CompareOp::Lt, None) => false,
            // Nothing is less than anything.
            (CompareOp::Lt, Some(value)) => current.is_none_or(|current| current < value),
            (CompareOp::Gte, None) => true,
            (CompareOp::Gte, Some(value)) => current.is_some_and(|current| current >= value),
            (op, _) => unreachable!("no keeper asks {op:?}"),
        }
    }
}

/// One request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// Whether it may be partial.
    pub(crate) delete_where: Option<(Test, bool)>,
    pub(crate) patch_where: Option<(Test, Patch, bool)>,
    pub(crate) upserts: Vec<(u64, Document)>,
    pub(crate) upsert_if: Option<Test>,
    pub(crate) patches: Vec<(u64, Patch)>,
    pub(crate) patch_if: Option<Test>,
    pub(crate) deletes: Vec<u64>,
    pub(crate) delete_if: Option<Test>,
    /// A change of the settings, alone.
    pub(crate) read_only: Option<bool>,
}

/// What a request did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) n_upserted: u64,
    pub(crate) n_patched: u64,
    pub(crate) n_deleted: u64,
    pub(crate) remaining: bool,
    /// The ids upserted, patched and deleted; an answer to a repeated request has none.
    pub(crate) ids: Option<[Vec<u64>; 3]>,
}

impl Done {
    /// Whether what was heard is this.
    pub(crate) fn fits(&self, heard: &Self) -> bool {
        let counts = |done: &Self| {
            (
                done.n_upserted,
                done.n_patched,
                done.n_deleted,
                done.remaining,
            )
        };
        counts(self) == counts(heard) && (heard.ids.is_none() || heard.ids == self.ids)
    }
}

/// The namespace at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) content: Content,
    pub(crate) read_only: bool,
}

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    ReadOnly,
    TooMuch,
}

impl Request {
    /// The one that begins the namespace.
    pub(crate) fn first() -> Self {
        let counter = (COUNTER, counter(0));
        let others = (0..DOCUMENTS / 2).map(|id| {
            let document = [("g", id as i64 % 3), ("m", 0), ("n", 0)];
            (id, document.into())
        });
        Self {
            upserts: others.chain([counter]).collect(),
            ..Self::default()
        }
    }

    pub(crate) fn read_only(value: bool) -> Self {
        Self {
            read_only: Some(value),
            ..Self::default()
        }
    }

    /// Counts one up from `known`, by an upsert or by a patch.
    pub(crate) fn count(known: i64, by_patch: bool) -> Self {
        let unchanged = Some(Test {
            attribute: "n",
            op: CompareOp::Eq,
            operand: Operand::Is(known),
        });
        match by_patch {
            true => Self {
                patches: vec![(COUNTER, [("n", Some(known + 1))].into())],
                patch_if: unchanged,
                ..Self::default()
            },
            false => Self {
                upserts: vec![(COUNTER, counter(known + 1))],
                upsert_if: unchanged,
                ..Self::default()
            },
        }
    }

    /// Whether it counts up.
    pub(crate) fn counts(&self) -> bool {
        let conditional = self.upsert_if.is_some() || self.patch_if.is_some();
        let upserts = self.upserts.iter().map(|(id, _)| id);
        let mut ids = upserts.chain(self.patches.iter().map(|(id, _)| id));
        conditional && ids.any(|id| *id == COUNTER)
    }

    /// The state after it and what it did; an error where it is refused.
    pub(crate) fn of(&self, before: &State) -> Result<(State, Done), Refused> {
        let mut state = before.clone();
        if let Some(read_only) = self.read_only {
            state.read_only = read_only;
            return Ok((state, Done::default()));
        }
        if state.read_only {
            return Err(Refused::ReadOnly);
        }
        let mut remaining = false;
        let mut deleted = Vec::new();
        if let Some((test, partial)) = &self.delete_where {
            deleted = matching(&state.content, test);
            remaining |= cut(&mut deleted, DELETED_MAX, *partial)?;
            state.content.retain(|id, _| !deleted.contains(id));
        }
        let mut patched = Vec::new();
        if let Some((test, patch, partial)) = &self.patch_where {
            patched = matching(&state.content, test);
            remaining |= cut(&mut patched, PATCHED_MAX, *partial)?;
            for id in &patched {
                overlay(&mut state.content, *id, patch);
            }
        }
        // Operations on ids see what filters did, and not each other.
        let seen = state.content.clone();
        let nothing = |_: &str| None;
        for (id, patch) in &self.patches {
            let new = |name: &str| patch.get(name).copied().flatten();
            let Some(current) = seen.get(id) else {
                continue;
            };
            if self.patch_if.is_none_or(|test| test.holds(current, &new)) {
                overlay(&mut state.content, *id, patch);
                patched.push(*id);
            }
        }
        let mut upserted = Vec::new();
        for (id, document) in &self.upserts {
            let new = |name: &str| document.get(name).copied();
            let applies = match (seen.get(id), self.upsert_if) {
                (Some(current), Some(test)) => test.holds(current, &new),
                _ => true,
            };
            if applies {
                state.content.insert(*id, document.clone());
                upserted.push(*id);
            }
        }
        for id in &self.deletes {
            let applies = match (seen.get(id), self.delete_if) {
                (_, None) => true,
                (Some(current), Some(test)) => test.holds(current, &nothing),
                (None, Some(_)) => false,
            };
            if applies {
                state.content.remove(id);
                deleted.push(*id);
            }
        }
        let done = Done {
            n_upserted: upserted.len() as u64,
            n_patched: patched.len() as u64,
            n_deleted: deleted.len() as u64,
            remaining,
            ids: Some([upserted, patched, deleted]),
        };
        Ok((state, done))
    }
}

fn counter(n: i64) -> Document {
    [("g", COUNTERS), ("n", n)].into()
}

fn matching(content: &Content, test: &Test) -> Vec<u64> {
    let matching = content
        .iter()
        .filter(|(_, document)| test.holds(document, &|_| None));
    matching.map(|(id, _)| *id).collect()
}

/// Cuts what is too much; `true` if it was.
fn cut(ids: &mut Vec<u64>, most: usize, partial: bool) -> Result<bool, Refused> {
    let over = ids.len() > most;
    if over && !partial {
        return Err(Refused::TooMuch);
    }
    ids.truncate(most);
    Ok(over)
}

fn overlay(content: &mut Content, id: u64, patch: &Patch) {
    let Some(document) = content.get_mut(&id) else {
        return;
    };
    for (name, value) in patch {
        match value {
            Some(value) => document.insert(name, *value),
            None => document.remove(name),
        };
    }
}
