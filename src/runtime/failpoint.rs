//! Named failpoints: the crash points of the commit protocol, at their true places in the code.
//!
//! A test arms one of them in a real server process by `ELACSYM_TEST_FAILPOINT=POINT=ACTION@HIT`, such as
//! `w3=die-before@20`: at the 20th arrival at point `w3`, before what it encloses, the process dies.
//! `@20+` strikes at every arrival from the 20th on. `docs/reliability.md` says what each point encloses
//! and what is promised there.
//!
//! Only builds with debug assertions have them. In a release build an [`Arrival`] is empty, an [`Injected`]
//! cannot exist, and the compiler removes both with the branches on them; the variable is not read.

#[cfg(debug_assertions)]
pub use armed::{Action, Arrival, Injected, VARIABLE, arm, forces, reach, reach_forced};
#[cfg(not(debug_assertions))]
pub use unarmed::{Arrival, Injected, arm, forces, reach, reach_forced};

/// A crash point of the protocol. What it encloses has a before and an after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailPoint {
    /// Encloses the sealing of a slot's bytes: nothing is sent yet.
    W1,
    /// Encloses the request that creates a slot.
    W2,
    /// Encloses an append's anchor check.
    W3,
    /// Encloses the reopening after an anchor that did not hold; armed, it also makes one not hold.
    W4,
    /// Encloses the change of this node's memory by a committed entry.
    W5,
    /// Encloses the request that creates a manifest.
    C1,
    /// Encloses the put of `head`, after the manifest and before the name's hint.
    C2,
    /// Encloses the append of a flush's claim.
    F1,
    /// Encloses the upload of a segment's index, after its documents.
    F2,
    /// Encloses the append of a flush's commit.
    F3,
    /// Encloses the append of a merge's claim.
    K1,
    /// Encloses the upload of the index of a segment that a merge made, after its documents.
    K2,
    /// Encloses the append of a merge's commit.
    K3,
    /// Encloses the deletion of an object that nothing refers to.
    G1,
    /// Encloses the append of a truncation.
    T1,
    /// Encloses the deletion of the rest of a block, after its head.
    T2,
    /// Encloses the creation of a name's record.
    N1,
    /// Encloses the link that gives a file of a local directory its name: the file is synced before it,
    /// the directory after it.
    L1,
    /// Encloses the request for blocks of a segment's file; an error there flips a bit of what came.
    M1,
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::FailPoint;
    use crate::error::{Error, Result};

    /// The environment variable that arms one point.
    pub const VARIABLE: &str = "ELACSYM_TEST_FAILPOINT";

    impl FailPoint {
        /// All of them.
        pub const ALL: [Self; 19] = [
            Self::W1,
            Self::W2,
            Self::W3,
            Self::W4,
            Self::W5,
            Self::C1,
            Self::C2,
            Self::F1,
            Self::F2,
            Self::F3,
            Self::K1,
            Self::K2,
            Self::K3,
            Self::G1,
            Self::T1,
            Self::T2,
            Self::N1,
            Self::L1,
            Self::M1,
        ];

        /// Its name in the variable and in messages.
        pub fn name(self) -> &'static str {
            match self {
                Self::W1 => "w1",
                Self::W2 => "w2",
                Self::W3 => "w3",
                Self::W4 => "w4",
                Self::W5 => "w5",
                Self::C1 => "c1",
                Self::C2 => "c2",
                Self::F1 => "f1",
                Self::F2 => "f2",
                Self::F3 => "f3",
                Self::K1 => "k1",
                Self::K2 => "k2",
                Self::K3 => "k3",
                Self::G1 => "g1",
                Self::T1 => "t1",
                Self::T2 => "t2",
                Self::N1 => "n1",
                Self::L1 => "l1",
                Self::M1 => "m1",
            }
        }
    }

    /// What happens where an armed point strikes.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum Action {
        /// The process aborts: no unwinding, no destructors.
        DieBefore,
        /// As above, after it.
        DieAfter,
        /// It fails without having been done.
        ErrorBefore,
        /// It is done and its answer is lost.
        ErrorAfter,
        /// It never begins.
        HangBefore,
        /// It is done and never goes on.
        HangAfter,
    }

    impl Action {
        /// All of them.
        pub const ALL: [Self; 6] = [
            Self::DieBefore,
            Self::DieAfter,
            Self::ErrorBefore,
            Self::ErrorAfter,
            Self::HangBefore,
            Self::HangAfter,
        ];

        /// Its name in the variable and in messages.
        pub fn name(self) -> &'static str {
            match self {
                Self::DieBefore => "die-before",
                Self::DieAfter => "die-after",
                Self::ErrorBefore => "error-before",
                Self::ErrorAfter => "error-after",
                Self::HangBefore => "hang-before",
                Self::HangAfter => "hang-after",
            }
        }
    }

    /// The operation is to fail here, by the error that is natural to it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Injected;

    /// One arrival at a point. Ask it on both sides of what the point encloses.
    #[derive(Debug, Clone, Copy)]
    #[must_use]
    pub struct Arrival(Option<(FailPoint, Action)>);

    /// What the variable says.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Order {
        point: FailPoint,
        action: Action,
        /// The first arrival that strikes, from 1.
        hit: u64,
        /// Whether the arrivals after it strike too.
        lasting: bool,
    }

    #[derive(Debug)]
    struct Armed {
        order: Order,
        arrivals: AtomicU64,
    }

    static ARMED: OnceLock<Armed> = OnceLock::new();

    /// Arms what the environment asks for. The variable is left to the first call of a process.
    ///
    /// Errors: `InvalidRequest` for an order that is malformed, naming what was expected.
    #[allow(
        clippy::disallowed_methods,
        reason = "no setting: users must not have it, and release builds do not"
    )]
    pub fn arm() -> Result<()> {
        let Some(text) = std::env::var_os(VARIABLE) else {
            return Ok(());
        };
        let order = parse(&text.to_string_lossy())?;
        ARMED.get_or_init(|| Armed {
            order,
            arrivals: AtomicU64::new(0),
        });
        Ok(())
    }

    fn parse(text: &str) -> Result<Order> {
        let refuse = |expected: &str| {
            Error::invalid(format!(
                "{VARIABLE}: expected {expected}, found `{text}`; an example is `w3=die-before@2`"
            ))
        };
        let names = |names: &[&str]| format!("one of {}", names.join(", "));
        let (point, rest) = text
            .split_once('=')
            .ok_or_else(|| refuse("POINT=ACTION@HIT"))?;
        let (action, hit) = rest
            .split_once('@')
            .ok_or_else(|| refuse("POINT=ACTION@HIT"))?;
        let point = FailPoint::ALL
            .into_iter()
            .find(|known| known.name() == point)
            .ok_or_else(|| refuse(&names(&FailPoint::ALL.map(FailPoint::name))))?;
        let action = Action::ALL
            .into_iter()
            .find(|known| known.name() == action)
            .ok_or_else(|| refuse(&names(&Action::ALL.map(Action::name))))?;
        let (hit, lasting) = match hit.strip_suffix('+') {
            Some(hit) => (hit, true),
            None => (hit, false),
        };
        let hit = hit.parse().ok().filter(|hit| *hit > 0);
        Ok(Order {
            point,
            action,
            hit: hit.ok_or_else(|| refuse("a hit from 1"))?,
            lasting,
        })
    }

    impl Order {
        fn strikes(self, arrival: u64) -> bool {
            arrival == self.hit || (self.lasting && arrival > self.hit)
        }
    }

    impl Armed {
        fn arrive(&self) -> bool {
            let arrival = self.arrivals.fetch_add(1, Ordering::SeqCst) + 1;
            self.order.strikes(arrival)
        }
    }

    fn armed(point: FailPoint) -> Option<&'static Armed> {
        ARMED.get().filter(|armed| armed.order.point == point)
    }

    /// Arrives at a point.
    pub fn reach(point: FailPoint) -> Arrival {
        let struck = armed(point).filter(|armed| armed.arrive());
        Arrival(struck.map(|armed| (point, armed.order.action)))
    }

    /// Arrives where a point, armed, makes a check fail that would have passed.
    pub fn forces(point: FailPoint) -> bool {
        armed(point).is_some_and(Armed::arrive)
    }

    /// Arrives at a point that only matters once `forces` made its check fail.
    pub fn reach_forced(point: FailPoint) -> Arrival {
        let forced =
            armed(point).filter(|armed| armed.arrivals.load(Ordering::SeqCst) >= armed.order.hit);
        Arrival(forced.map(|armed| (point, armed.order.action)))
    }

    impl Arrival {
        /// What is to happen before it. Cancel safe.
        pub async fn before(self) -> Option<Injected> {
            self.meet(Action::DieBefore, Action::ErrorBefore, Action::HangBefore)
                .await
        }

        /// What is to happen after it. Cancel safe.
        pub async fn after(self) -> Option<Injected> {
            self.meet(Action::DieAfter, Action::ErrorAfter, Action::HangAfter)
                .await
        }

        /// `before` on a thread that may block.
        pub fn before_blocking(self) -> Option<Injected> {
            self.meet_blocking(Action::DieBefore, Action::ErrorBefore, Action::HangBefore)
        }

        /// `after` on a thread that may block.
        pub fn after_blocking(self) -> Option<Injected> {
            self.meet_blocking(Action::DieAfter, Action::ErrorAfter, Action::HangAfter)
        }

        async fn meet(self, die: Action, error: Action, hang: Action) -> Option<Injected> {
            if self.strike(die, error, hang)? == hang {
                std::future::pending::<()>().await;
            }
            Some(Injected)
        }

        fn meet_blocking(self, die: Action, error: Action, hang: Action) -> Option<Injected> {
            if self.strike(die, error, hang)? == hang {
                loop {
                    // May wake for no reason, hence the loop.
                    std::thread::park();
                }
            }
            Some(Injected)
        }

        /// The action that strikes on this side; dies here if it is `die`.
        fn strike(self, die: Action, error: Action, hang: Action) -> Option<Action> {
            let (point, action) = self.0?;
            if ![die, error, hang].contains(&action) {
                return None;
            }
            // A test looks for this line: an order that never struck proves nothing.
            eprintln!("failpoint {} struck: {}", point.name(), action.name());
            if action == die {
                std::process::abort();
            }
            Some(action)
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn order_well_formed_is_read() {
            for point in FailPoint::ALL {
                for action in Action::ALL {
                    for (hit, lasting) in [("1", false), ("20+", true)] {
                        let text = format!("{}={}@{hit}", point.name(), action.name());
                        let order = parse(&text).expect("an order");
                        assert_eq!((order.point, order.action), (point, action), "{text}");
                        assert_eq!(order.lasting, lasting, "{text}");
                    }
                }
            }
        }

        #[test]
        fn order_malformed_is_refused_with_what_was_expected() {
            for (text, expected) in [
                ("", "POINT=ACTION@HIT"),
                ("w3", "POINT=ACTION@HIT"),
                ("w3=die-before", "POINT=ACTION@HIT"),
                ("w9=die-before@1", "one of w1, w2"),
                ("w3=die@1", "one of die-before"),
                ("w3=die-before@0", "a hit from 1"),
                ("w3=die-before@x", "a hit from 1"),
            ] {
                let error = parse(text).expect_err(text).to_string();
                assert!(error.contains(expected), "{text}: {error}");
                assert!(error.contains(VARIABLE), "{text}: {error}");
            }
        }

        #[test]
        fn order_strikes_once_unless_it_lasts() {
            let once = parse("w1=error-before@2").expect("an order");
            let struck: Vec<bool> = (1..=4).map(|arrival| once.strikes(arrival)).collect();
            assert_eq!(struck, [false, true, false, false]);
            let lasting = parse("w1=error-before@2+").expect("an order");
            let struck: Vec<bool> = (1..=4).map(|arrival| lasting.strikes(arrival)).collect();
            assert_eq!(struck, [false, true, true, true]);
        }

        #[tokio::test]
        async fn arrival_unarmed_does_nothing() {
            let arrival = reach(FailPoint::W1);
            assert_eq!(arrival.before().await, None);
            assert_eq!(arrival.after_blocking(), None);
            assert!(!forces(FailPoint::W4));
        }
    }
}

#[cfg(not(debug_assertions))]
#[allow(missing_docs, reason = "documented where it does something")]
mod unarmed {
    use super::FailPoint;

    #[derive(Debug, Clone, Copy)]
    pub enum Injected {}

    #[derive(Debug, Clone, Copy)]
    pub struct Arrival;

    #[inline(always)]
    pub fn arm() -> crate::error::Result<()> {
        Ok(())
    }

    #[inline(always)]
    pub fn reach(_: FailPoint) -> Arrival {
        Arrival
    }

    #[inline(always)]
    pub fn forces(_: FailPoint) -> bool {
        false
    }

    #[inline(always)]
    pub fn reach_forced(_: FailPoint) -> Arrival {
        Arrival
    }

    impl Arrival {
        #[inline(always)]
        pub async fn before(self) -> Option<Injected> {
            None
        }

        #[inline(always)]
        pub async fn after(self) -> Option<Injected> {
            None
        }

        #[inline(always)]
        pub fn before_blocking(self) -> Option<Injected> {
            None
        }

        #[inline(always)]
        pub fn after_blocking(self) -> Option<Injected> {
            None
        }
    }
}
