//! Filters that may name an attribute and may not, in turn: indexes of it are built while everything else goes on.

use std::collections::BTreeMap;

use elacsym::namespace::Engine;
use elacsym::query::request::Consistency;
use elacsym::types::document::{AttributeSpec, RawValue, SchemaSpec};
use elacsym::types::filter::{CompareOp, Filter};
use elacsym::types::{AttributeType, ScalarType};

use crate::client::{Client, NAMESPACES, Silence};
use crate::shape::{document_of, name_of, query};

/// Says whether filters may name the second attribute.
fn spec(filterable: bool) -> SchemaSpec {
    let spec = AttributeSpec {
        filterable: Some(filterable),
        ..AttributeSpec::plain(AttributeType::Scalar(ScalarType::Int))
    };
    SchemaSpec {
        attributes: BTreeMap::from([("w".to_owned(), spec)]),
        ..SchemaSpec::default()
    }
}

impl Client {
    /// Lets filters name the second attribute, or not. Documents stay as they are.
    pub(crate) async fn change_filters(&mut self, namespace: usize) {
        let filterable = self.world.choose(|random| random.below(3) > 0);
        self.set_filters(namespace, filterable).await;
    }

    /// `None` where there is no such namespace; `false` if nobody knows or it came to nothing.
    async fn set_filters(&mut self, namespace: usize, filterable: bool) -> Option<bool> {
        let shown = NAMESPACES[namespace];
        self.note(format_args!("{shown} has filters by `w`: {filterable}"));
        let name = name_of(namespace);
        let heard = self
            .call(async move |engine: Engine| engine.update_schema(&name, spec(filterable)).await)
            .await;
        self.note(format_args!("heard {:?}", heard.as_ref().map(|_| ())));
        match heard {
            Ok(_) => {
                self.world.count("filters changed");
                Some(true)
            }
            Err(Silence::NotFound) => None,
            Err(_) => Some(false),
        }
    }

    /// Filters after the storm: a filter that every document passes must find what a read shows, be its index built
    /// or not.
    pub(crate) async fn must_filter(&mut self, namespace: usize) {
        let Some(changed) = self.set_filters(namespace, true).await else {
            return;
        };
        let mut found = Vec::new();
        let filter = Filter::Compare {
            attribute: "w".to_owned(),
            op: CompareOp::Gte,
            value: RawValue::Int(0),
        };
        for filter in [None, Some(filter)] {
            let (name, query) = (name_of(namespace), query(filter, Consistency::Strong));
            let heard = self
                .call(async move |engine: Engine| engine.query(&name, query).await)
                .await;
            let rows = heard.map(|reply| {
                let rows = reply.rows.iter().map(document_of);
                rows.collect::<Vec<_>>()
            });
            found.push(rows.ok());
        }
        if !changed || found[0].is_none() || found[0] != found[1] {
            self.world.alarm(format!(
                "{} filters `{}` (changed: {changed}) and finds another set than a read: {found:?}",
                self.label, NAMESPACES[namespace]
            ));
        }
    }
}
