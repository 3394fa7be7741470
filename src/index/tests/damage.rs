//! Damage, and indexes of other rows.

use super::*;

#[test]
fn directory_comes_back_and_a_damaged_one_is_refused_or_legal_but_never_panics() {
    for (kind, spread) in [
        (AttributeType::Scalar(ScalarType::Int), Spread::Wild),
        (AttributeType::Scalar(ScalarType::String), Spread::Wild),
        (AttributeType::Array(ScalarType::Float), Spread::Few(9)),
    ] {
        let sample = Sample::new(kind, spread, 2_000, 8);
        let bytes = sample.index.encode();
        assert_eq!(sample.decode(&bytes).unwrap(), *sample.index, "{kind}");
        for at in 0..bytes.len() {
            let cut = sample.decode(&bytes[..at]).unwrap_err();
            assert_eq!(cut.kind(), ErrorKind::Corrupted);
            for mask in [1, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= mask;
                let Ok(index) = sample.decode(&damaged) else {
                    continue;
                };
                // The hash of the footer keeps such a directory away.
                let _ = prove(&index, &sample.chunks, ATTR, &sample.pages());
            }
        }
    }
}

#[test]
fn flipped_byte_in_any_section_is_an_error_or_changes_no_answer() {
    for (kind, spread, n_rows) in [
        (AttributeType::Scalar(ScalarType::Int), Spread::Wild, 1_500),
        (
            AttributeType::Scalar(ScalarType::Uint),
            Spread::Few(7),
            1_500,
        ),
        (
            AttributeType::Scalar(ScalarType::String),
            Spread::Few(60),
            3_000,
        ),
        (
            AttributeType::Array(ScalarType::String),
            Spread::Few(60),
            3_000,
        ),
        (AttributeType::Array(ScalarType::Bool), Spread::Wild, 9_000),
    ] {
        let sample = Sample::new(kind, spread, n_rows, 9);
        let leaves = sample.leaves(&mut Seeded(3));
        let step = (sample.file.len() - BEFORE).div_ceil(700);
        let mut refused = 0;
        for at in (BEFORE..sample.file.len()).step_by(step) {
            let mut damaged = sample.file.to_vec();
            damaged[at] ^= 1 << (at % 8);
            let damaged = Bytes::from(damaged);
            let proof = prove(&sample.index, &sample.chunks, ATTR, &Pages::whole(&damaged));
            let Err(error) = proof else {
                for leaf in &leaves {
                    let (found, _) = sample.select(leaf, &damaged).unwrap();
                    assert!(found == filter::eval(leaf, &sample.whole), "{kind} at {at}");
                }
                continue;
            };
            refused += 1;
            let known = [ErrorKind::Corrupted, ErrorKind::Internal];
            assert!(known.contains(&error.kind()), "{error}");
            for leaf in &leaves {
                // What it answers is wrong, or an error: checksums keep such bytes away. It must not panic.
                let _ = sample.select(leaf, &damaged);
            }
        }
        assert!(refused > 100, "{kind}: {refused}");
    }
}

#[test]
fn index_of_other_rows_does_not_prove() {
    for kind in kinds() {
        let sample = Sample::new(kind, Spread::Few(50), 900, 4);
        let other = Sample::new(kind, Spread::Few(50), 900, 5);
        assert!(
            prove(&sample.index, &other.chunks, ATTR, &sample.pages()).is_err(),
            "{kind}"
        );
        let fewer = &sample.chunks[..1];
        assert!(
            prove(&sample.index, fewer, ATTR, &sample.pages()).is_err(),
            "{kind}"
        );
    }
}
