//! Reads of states of the past: what they show must be what everybody else saw of that sequence.

use elacsym::namespace::Engine;
use elacsym::query::reply::Reply;
use elacsym::query::request::{AsOf, Consistency, Questions};
use elacsym::types::WalSeq;

use crate::client::{Client, KEPT, NAMESPACES, NOT_RETAINED, Silence};
use crate::history::Seen;
use crate::shape::{name_of, query, show_rows};

/// How far back states are asked for, sequences.
const BACK_MAX: u64 = 40;

impl Client {
    /// Reads the whole of a state that was, where it can be had still.
    pub(crate) async fn read_past(&mut self) {
        let back = self.world.choose(|random| random.below(BACK_MAX));
        let seq = WalSeq(self.newest.0.saturating_sub(back));
        if seq == WalSeq(0) {
            return;
        }
        let sent_ms = self.world.now_ms();
        self.note(format_args!("{} reads as of {seq}", NAMESPACES[KEPT]));
        let asked = Questions {
            as_of: Some(AsOf {
                seq,
                namespace: None,
            }),
            ..Questions::from(query(None, Consistency::Strong))
        };
        let name = name_of(KEPT);
        let heard = self
            .call(async move |engine: Engine| engine.ask(&name, &asked).await.map(Reply::from))
            .await;
        self.note(format_args!("heard {}", show_rows(&heard)));
        match heard {
            Ok(reply) => {
                self.world.count("past read");
                if reply.coverage.as_of_seq != seq {
                    let found = reply.coverage.as_of_seq;
                    self.world
                        .alarm(format!("asked for the state at {seq}, found {found}"));
                }
                let seen = Seen {
                    by: self.label.clone(),
                    sent_ms,
                    as_of: reply.coverage.as_of_seq,
                    staleness_ms: None,
                    min_seq: seq,
                    rows: self.rows_of(&reply),
                };
                self.records.histories.lock()[KEPT].seen.push(seen);
            }
            Err(Silence::Said(NOT_RETAINED)) => self.world.count("past not retained"),
            Err(_) => self.world.count("past read unanswered"),
        }
    }
}
