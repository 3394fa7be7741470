//! The fields of bodies: what parsers know them by, and what the API's description tells of them.

/// A field of a body.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Field {
    pub(in crate::http) name: &'static str,
    pub(in crate::http) shape: Shape,
    /// One line for people.
    pub(in crate::http) about: &'static str,
    pub(in crate::http) required: bool,
}

/// What a value looks like.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) enum Shape {
    /// Anything.
    Any,
    Text,
    Flag,
    /// An unsigned integer.
    Count,
    /// One of these words.
    Words(&'static [&'static str]),
    List(&'static Shape),
    /// An object with names of the caller's choice.
    Map(&'static Shape),
    /// One of these.
    Either(&'static [Shape]),
    /// A component of the description, by its name.
    Named(&'static str),
}

/// A field that may be absent.
pub(in crate::http) const fn field(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field {
        name,
        shape,
        about,
        required: false,
    }
}

/// A field that must be there.
pub(in crate::http) const fn required(
    name: &'static str,
    shape: Shape,
    about: &'static str,
) -> Field {
    Field {
        required: true,
        ..field(name, shape, about)
    }
}

/// Whether a name is one of the fields'.
pub(super) fn is_known(fields: &[Field], name: &str) -> bool {
    fields.iter().any(|field| field.name == name)
}

/// The names of fields, in order.
pub(super) fn names(fields: &[Field]) -> Vec<&'static str> {
    fields.iter().map(|field| field.name).collect()
}
