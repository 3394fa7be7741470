//! What was sealed is found again, whole and in part.

use arrow::array::Array;

use super::*;
use crate::error::ErrorKind;

#[test]
fn seal_every_type_reads_back_the_same_rows() {
    for kind in kinds() {
        for n_rows in [1, 2, 63, 64, 65, 5_003] {
            let sample = sample(kind, &all_types(), n_rows, n_rows);
            let found = read(&sample, &attrs(&sample.schema), true, None);
            assert_eq!(joined(&found), sample.rows, "{kind:?} {n_rows}");
            for batch in &found {
                rows::layout::check(batch).unwrap();
                // The child of a vector column holds no nulls, and zeros where there is no vector.
                for (_, attribute) in sample.schema.vectors() {
                    let vectors = rows::vectors(batch, attribute.id).unwrap();
                    let numbers = vectors.to_f32();
                    let AttributeType::Vector { dims, element } = attribute.kind else {
                        panic!()
                    };
                    assert_eq!(vectors.element(), element);
                    assert_eq!(numbers.len(), batch.num_rows() * dims as usize);
                    if let Some(nulls) = rows::vector_nulls(batch, attribute.id) {
                        for row in (0..batch.num_rows()).filter(|row| nulls.is_null(*row)) {
                            let vector = &numbers[row * dims as usize..(row + 1) * dims as usize];
                            assert!(vector.iter().all(|number| *number == 0.0));
                        }
                    }
                }
            }
            assert_eq!(sample.sealed.rows, n_rows);
            assert_eq!(sample.footer.rows() as u64, n_rows);
            assert_eq!(
                sample.sealed.logical_bytes,
                rows::logical_bytes(&sample.rows)
            );
            assert_eq!(sample.footer.stats(), &sample.sealed.stats);
            assert!(sample.footer.memory_bytes() > footer_bytes(&sample.sealed).len() / 4);
        }
    }
}

#[test]
fn column_read_of_scattered_rows_gives_the_rows_sealed() {
    let sample = sample(IdKind::String, &all_types(), 5_003, 7);
    let all = attrs(&sample.schema);
    let mut seed = Seed(11);
    for wanted in [0, 1, 3, 40, 900, 5_003] {
        let mut rows: Vec<u32> = (0..wanted).map(|_| seed.below(5_003) as u32).collect();
        rows.sort_unstable();
        rows.dedup();
        for with_id in [true, false] {
            let some: Vec<AttrId> = all.iter().copied().filter(|_| seed.below(2) == 0).collect();
            let found = read(&sample, &some, with_id, Some(&rows));
            let count: usize = found.iter().map(RecordBatch::num_rows).sum();
            assert_eq!(count, rows.len());
            if rows.is_empty() {
                continue;
            }
            let (found, expected) = (
                joined(&found),
                rows::take_rows(&sample.rows, &rows).unwrap(),
            );
            assert_eq!(found.num_columns(), some.len() + 1);
            for attr in &some {
                assert_eq!(
                    rows::layout::column(&found, *attr),
                    rows::layout::column(&expected, *attr)
                );
            }
            let first = found.column(0);
            if with_id {
                assert_eq!(first, rows::id_column(&expected));
            } else {
                assert_eq!(found.schema().field(0).name(), ROW_COLUMN);
                let numbers = arrow::array::UInt32Array::from(rows.clone());
                assert_eq!(first.as_ref(), &numbers as &dyn Array);
            }
        }
    }
}

#[test]
fn column_read_of_few_rows_asks_for_few_bytes() {
    let text = AttributeType::Scalar(ScalarType::Uuid);
    let sample = sample(
        IdKind::Uint,
        &[
            text,
            AttributeType::Vector {
                dims: 768,
                element: VectorElement::F32,
            },
        ],
        5_003,
        3,
    );
    let attr = attrs(&sample.schema)[0];
    let mut read = ColumnRead::new(&sample.footer, &[attr], true, Some(&[17, 4_000])).unwrap();
    let ColumnStep::Need(ranges) = read.step().unwrap() else {
        panic!()
    };
    let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    // Two pages of 1,024 rows of ids and of uuids, and a dictionary; the vectors take 15 MB.
    assert!(bytes < 2 * 1_024 * (8 + 17) + (66 << 10), "{bytes}");
}

#[test]
fn column_read_of_missing_attribute_leaves_it_out() {
    let sample = sample(
        IdKind::Uint,
        &[AttributeType::Scalar(ScalarType::Int)],
        10,
        3,
    );
    let missing = AttrId(900);
    let found = joined(&read(&sample, &[missing], true, None));
    assert_eq!(found.num_columns(), 1);
    assert_eq!(rows::value_at(&found, missing, 3), Value::Null);
    // Nothing of the file is needed.
    let found = joined(&read(&sample, &[missing], false, Some(&[2, 9])));
    assert_eq!((found.num_columns(), found.num_rows()), (1, 2));
}

#[test]
fn column_read_of_unsorted_rows_or_wrong_lengths_is_refused() {
    let sample = sample(
        IdKind::Uint,
        &[AttributeType::Scalar(ScalarType::Int)],
        10,
        3,
    );
    for rows in [&[3, 2][..], &[2, 2], &[10], &[0, u32::MAX]] {
        let error = ColumnRead::new(&sample.footer, &[], true, Some(rows)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
    let mut read = ColumnRead::new(&sample.footer, &[], true, None).unwrap();
    let ColumnStep::Need(ranges) = read.step().unwrap() else {
        panic!()
    };
    let short = ranges.iter().map(|_| Bytes::from_static(b"x")).collect();
    assert!(read.feed(ranges, short).is_err());
}

#[test]
fn ids_of_every_kind_are_found_and_absent_ones_are_not() {
    for kind in kinds() {
        let sample = sample(kind, &[], 20_011, 5);
        let ids = rows::ids_of(rows::id_column(&sample.rows));
        let absent: Vec<DocId> = (0..20_000).map(|row| id(kind, row * 3 + 2)).collect();
        let asked: Vec<DocId> = ids.iter().chain(&absent).cloned().collect();
        let mut found = vec![None; asked.len()];
        let mut blocks = 0;
        for read in sample.footer.id_reads(&asked) {
            blocks += 1;
            assert!(read.range.end - read.range.start <= ID_BLOCK_BYTES_MAX as u64);
            let bytes = slice(&sample.sealed.index, &read.range);
            let block = sample.footer.id_block(&bytes).unwrap();
            for at in read.ids {
                found[at] = block.find(&asked[at]);
            }
        }
        assert!(blocks > 1, "{kind:?}: more than one block is tried");
        for (row, found) in found[..ids.len()].iter().enumerate() {
            assert_eq!(*found, Some(row as u32));
        }
        assert!(found[ids.len()..].iter().all(Option::is_none));
        let passed = absent
            .iter()
            .filter(|id| sample.footer.may_contain(id))
            .count();
        assert!(
            passed < 500,
            "{kind:?}: the filter lets {passed} of 20,000 pass"
        );
        // Ids of another kind are in no block.
        let strange = kinds().map(|kind| id(kind, 4));
        let strange: Vec<_> = strange.into_iter().filter(|id| id.kind() != kind).collect();
        assert!(sample.footer.id_reads(&strange).is_empty());
    }
}

#[test]
fn vector_ranges_give_the_exact_bytes() {
    let every_dims = [1, 2, 100, 128, 768].map(|dims| (dims, VectorElement::F32));
    let narrow = [
        (1, VectorElement::F16),
        (131, VectorElement::F16),
        (1, VectorElement::I8),
        (385, VectorElement::I8),
    ];
    for (dims, element) in every_dims.into_iter().chain(narrow) {
        for (n_rows, every) in [(1, true), (5_003, true), (5_003, false), (3, false)] {
            let schema = schema(IdKind::Uint, &[AttributeType::Vector { dims, element }]);
            let attr = attrs(&schema)[0];
            let mut seed = Seed(u64::from(dims));
            let mut builder = RowsBuilder::new(&schema, n_rows);
            for row in 0..n_rows {
                let vector = (0..dims).map(|_| match element {
                    VectorElement::F32 => seed.below(1 << 20) as f32 / 7.0,
                    VectorElement::F16 | VectorElement::I8 => seed.below(256) as f32 - 128.0,
                });
                let vector = vector.collect();
                let has = every || seed.below(3) > 0;
                let values = has.then_some((attr, Value::Vector(vector)));
                builder
                    .push_row(DocId::Uint(row as u64), values.as_slice())
                    .unwrap();
            }
            let batch = builder.finish().unwrap().1;
            let sealed = seal(std::slice::from_ref(&batch), &schema).unwrap();
            let footer = Footer::open("idx", &sealed.footer, footer_bytes(&sealed)).unwrap();
            let pages = footer.vector_pages(attr).unwrap();
            let nulls = rows::vector_nulls(&batch, attr);
            let vectors = rows::vectors(&batch, attr).unwrap();
            let mut live = Vec::new();
            for row in 0..n_rows {
                let Some(range) = pages.range_of(row as u32) else {
                    assert!(nulls.unwrap().is_null(row));
                    continue;
                };
                assert!(nulls.is_none_or(|nulls| nulls.is_valid(row)));
                let bytes = slice(&sealed.parquet, &range);
                assert_eq!(bytes, &*vectors.bytes(row..row + 1));
                assert_eq!(bytes.len(), dims as usize * element.bytes());
                let value = pages.value_of(row as u32).unwrap();
                assert_eq!(value as usize, live.len());
                let check = slice(&sealed.index, &pages.check_range(value..value + 1));
                pages.verify("parquet", row as u32, &bytes, &check).unwrap();
                let mut bad = bytes.to_vec();
                bad[0] ^= 1;
                assert!(pages.verify("parquet", row as u32, &bad, &check).is_err());
                live.push(bytes);
            }
            assert_eq!(pages.range_of(n_rows as u32), None);
            assert_eq!(pages.values() as usize, live.len());
            let every: Vec<u32> = (0..n_rows as u32).collect();
            let all = live.concat();
            let ranges = pages.ranges(&every);
            let joined: Vec<u8> = ranges
                .iter()
                .flat_map(|range| slice(&sealed.parquet, range))
                .collect();
            assert_eq!(joined, all);
            let by_page: Vec<u8> = pages
                .pages()
                .flat_map(|page| slice(&sealed.parquet, &page.bytes))
                .collect();
            assert_eq!(by_page, all);
        }
    }
}

#[test]
fn seal_of_repeated_ids_or_no_rows_is_refused() {
    let schema = schema(IdKind::Uint, &[AttributeType::Scalar(ScalarType::Int)]);
    let batch = batches(&schema, 3, 10, 1).remove(0);
    let error = seal(&[batch.clone(), batch.slice(1, 1)], &schema).unwrap_err();
    assert!(error.message().contains("occurs twice"), "{error}");
    assert!(seal(&[], &schema).is_err());
    assert!(seal(&[batch.slice(0, 0)], &schema).is_err());
}

#[test]
fn stats_bound_every_value() {
    let sample = sample(IdKind::Uuid, &all_types(), 3_000, 9);
    let stats = &sample.sealed.stats;
    let ids = rows::ids_of(rows::id_column(&sample.rows));
    assert_eq!(stats.id_min.to_id().as_ref(), ids.first());
    assert_eq!(stats.id_max.to_id().as_ref(), ids.last());
    assert_eq!(stats.attributes.len(), ScalarType::ALL.len());
    for attribute in &stats.attributes {
        let mut nulls = 0;
        for row in 0..sample.rows.num_rows() {
            let value = rows::value_at(&sample.rows, attribute.attr, row);
            if value == Value::Null {
                nulls += 1;
                continue;
            }
            let min = attribute.min.as_ref().unwrap().to_value();
            assert!(min.total_cmp(&value).is_le(), "{min:?} {value:?}");
            if let Some(max) = &attribute.max {
                assert!(
                    max.to_value().total_cmp(&value).is_ge(),
                    "{max:?} {value:?}"
                );
            }
        }
        assert_eq!(attribute.nulls, nulls);
        assert_eq!(sample.footer.column(attribute.attr).unwrap().nulls, nulls);
    }
    let json = serde_json::to_string(stats).unwrap();
    assert_eq!(serde_json::from_str::<Stats>(&json).unwrap(), *stats);
}

#[test]
fn sums_cover_both_files() {
    let sample = sample(
        IdKind::Uint,
        &[AttributeType::Vector {
            dims: 100,
            element: VectorElement::F32,
        }],
        2_000,
        2,
    );
    let files = [
        (sample.footer.parquet_sums(), &sample.sealed.parquet[..]),
        (
            sample.footer.index_sums(),
            &sample.sealed.index[..sample.sealed.footer.offset as usize],
        ),
    ];
    for (sums, file) in files {
        assert_eq!(sums.bytes(), file.len() as u64);
        for (block, bytes) in file.chunks(SUM_BLOCK_BYTES).enumerate() {
            sums.verify("file", block as u64, bytes).unwrap();
            let mut bad = bytes.to_vec();
            *bad.last_mut().unwrap() ^= 0x10;
            assert_eq!(
                sums.verify("file", block as u64, &bad).unwrap_err().kind(),
                ErrorKind::Corrupted
            );
            assert!(sums.verify("file", block as u64, &bytes[1..]).is_err());
            assert!(sums.verify("file", block as u64 + 1, bytes).is_err());
        }
    }
}
