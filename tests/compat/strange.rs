//! Strange objects with right checksums: what a newer version, or a stranger, may have written.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use elacsym::error::ErrorKind;
use elacsym::format::wal;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use super::damage::refusal;
use super::goldens::{FLAGS_AT, GOLDENS, Golden, SLOT_KIND_AT};

const FRAME_HEADER_BYTES: usize = 24;
/// Where a slot's header keeps the length and the hash of its body.
const BODY_BYTES_AT: usize = 64;
const BODY_HASH_AT: usize = 72;

/// Makes the header's checksum right again.
fn reseal(bytes: &mut [u8], header_bytes: usize) {
    let (checked, rest) = bytes.split_at_mut(header_bytes - 4);
    rest[..4].copy_from_slice(&crc32c::crc32c(checked).to_le_bytes());
}

/// A slot with the header of `slot` and another body, all checksums right.
fn with_body(slot: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = slot[..wal::HEADER_BYTES].to_vec();
    out[BODY_BYTES_AT..BODY_HASH_AT].copy_from_slice(&(body.len() as u64).to_le_bytes());
    out[BODY_HASH_AT..BODY_HASH_AT + 16].copy_from_slice(&xxh3_128(body).to_le_bytes());
    reseal(&mut out, wal::HEADER_BYTES);
    out.extend_from_slice(body);
    out
}

/// A frame of a slot, unpacked.
#[derive(Debug, Clone)]
struct Frame {
    kind: u16,
    attr: u32,
    content: Vec<u8>,
}

/// The frames of a body.
fn frames(mut body: &[u8]) -> Vec<Frame> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let mut out = Vec::new();
    while !body.is_empty() {
        let (raw, stored) = (number(&body[8..16]), number(&body[16..24]));
        let end = FRAME_HEADER_BYTES + stored as usize;
        let mut content = body[FRAME_HEADER_BYTES..end].to_vec();
        if body[2] == 1 {
            content = zstd::bulk::decompress(&content, raw as usize).expect("the frame is whole");
        }
        out.push(Frame {
            kind: u16::from_le_bytes([body[0], body[1]]),
            attr: u32::from_le_bytes(body[4..8].try_into().expect("four bytes")),
            content,
        });
        body = &body[end..];
    }
    out
}

/// A body of frames that are stored raw, so that a flipped byte reaches the reader behind zstd.
fn stored_raw(frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::new();
    for Frame {
        kind,
        attr,
        content,
    } in frames
    {
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&attr.to_le_bytes());
        for _raw_then_stored in 0..2 {
            out.extend_from_slice(&(content.len() as u64).to_le_bytes());
        }
        out.extend_from_slice(content);
    }
    out
}

/// The JSON of an object, and the object with other JSON in its place, all checksums right.
fn json_of(golden: &Golden) -> String {
    let bytes = golden.read();
    let body = &bytes[golden.header_bytes..];
    let json = match (golden.is_slot(), golden.object) {
        (true, _) => frames(body)[0].content.clone(),
        (false, "segment-footer") => footer_head(body).0.to_vec(),
        (false, _) => body.to_vec(),
    };
    String::from_utf8(json).expect("JSON is text")
}

fn with_json(golden: &Golden, json: &str) -> Vec<u8> {
    let bytes = golden.read();
    if golden.is_slot() {
        let mut frames = frames(&bytes[wal::HEADER_BYTES..]);
        frames[0].content = json.as_bytes().to_vec();
        return with_body(&bytes, &stored_raw(&frames));
    }
    let mut payload = json.as_bytes().to_vec();
    if golden.object == "segment-footer" {
        let (_, parts) = footer_head(&bytes[golden.header_bytes..]);
        payload = [&(json.len() as u32).to_le_bytes(), json.as_bytes(), parts].concat();
    }
    let mut out = bytes[..golden.header_bytes].to_vec();
    out[16..24].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    out[24..40].copy_from_slice(&xxh3_128(&payload).to_le_bytes());
    reseal(&mut out, golden.header_bytes);
    out.extend_from_slice(&payload);
    out
}

/// The JSON that opens a footer's payload, after its length, and the parts behind it.
fn footer_head(payload: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = payload.split_at(4);
    let length = u32::from_le_bytes(length.try_into().expect("four bytes"));
    rest.split_at(length as usize)
}

/// Refused as damage, in a message that says what was expected and what was found.
fn assert_corrupted(golden: &Golden, bytes: &[u8], what: &str, parts: &[&str]) {
    let error = refusal(golden, bytes, what);
    let object = golden.object;
    assert_eq!(
        error.kind(),
        ErrorKind::Corrupted,
        "{object}, {what}: {error}"
    );
    for part in ["object `", "expected", "found"].iter().chain(parts) {
        let message = error.message();
        assert!(
            message.contains(part),
            "{object}, {what}: no `{part}` in {message}"
        );
    }
}

fn assert_unknown(golden: &Golden, bytes: &[u8], what: &str) {
    let error = refusal(golden, bytes, what);
    assert_eq!(
        error.code(),
        "unknown_format",
        "{}, {what}: {error}",
        golden.object
    );
}

#[test]
fn strange_level_is_an_unknown_format() {
    for golden in GOLDENS {
        for level in [0_u16, 2, u16::MAX] {
            let mut bytes = golden.read();
            bytes[golden.level_at..golden.level_at + 2].copy_from_slice(&level.to_le_bytes());
            reseal(&mut bytes, golden.header_bytes);
            assert_unknown(golden, &bytes, &format!("level {level}"));
        }
    }
}

#[test]
fn strange_flag_is_an_unknown_format() {
    for golden in GOLDENS {
        for flag in (0..32).map(|bit| 1_u32 << bit) {
            let mut bytes = golden.read();
            bytes[FLAGS_AT..FLAGS_AT + 4].copy_from_slice(&flag.to_le_bytes());
            reseal(&mut bytes, golden.header_bytes);
            assert_unknown(golden, &bytes, &format!("flags {flag:#x}"));
        }
    }
}

#[test]
fn strange_entry_kind_is_an_unknown_format() {
    for golden in GOLDENS.iter().filter(|golden| golden.is_slot()) {
        for kind in [0_u16, 16, 18, 255, u16::MAX] {
            let mut bytes = golden.read();
            bytes[SLOT_KIND_AT..SLOT_KIND_AT + 2].copy_from_slice(&kind.to_le_bytes());
            reseal(&mut bytes, golden.header_bytes);
            assert_unknown(golden, &bytes, &format!("entry kind {kind}"));
        }
    }
}

#[test]
fn strange_frames_stored_raw_decode_to_the_same_slot() {
    for golden in GOLDENS.iter().filter(|golden| golden.is_slot()) {
        let slot = golden.read();
        let raw = with_body(&slot, &stored_raw(&frames(&slot[wal::HEADER_BYTES..])));
        let decoded = (golden.decodes)(&raw);
        assert!(
            matches!(decoded, Ok(true)),
            "{}: {decoded:?}",
            golden.object
        );
    }
}

/// A body that a stranger made may mean anything, but it must not end the process.
#[test]
fn strange_body_with_right_checksums_does_not_panic() {
    let mut panics = Vec::new();
    for golden in GOLDENS.iter().filter(|golden| golden.is_slot()) {
        let slot = golden.read();
        let packed = slot[wal::HEADER_BYTES..].to_vec();
        for body in [stored_raw(&frames(&packed)), packed] {
            for at in 0..body.len() {
                for mask in [0xff, 1, 0x80] {
                    let mut bad = body.clone();
                    bad[at] ^= mask;
                    let bytes = Bytes::from(with_body(&slot, &bad));
                    if catch_unwind(AssertUnwindSafe(|| wal::decode("slot", &bytes))).is_err() {
                        panics.push(format!("{} body byte {at} xor {mask:#x}", golden.object));
                    }
                }
            }
        }
    }
    assert!(panics.is_empty(), "decoding panics: {panics:#?}");
}

#[test]
fn strange_reserved_byte_of_a_header_is_an_unknown_format() {
    for golden in GOLDENS {
        let reserved: Vec<usize> = match golden.is_slot() {
            true => (52..56).chain(88..124).collect(),
            false => (40..60).collect(),
        };
        for at in reserved {
            let mut bytes = golden.read();
            bytes[at] = 1;
            reseal(&mut bytes, golden.header_bytes);
            assert_unknown(golden, &bytes, &format!("reserved byte {at}"));
            let error = refusal(golden, &bytes, "reserved");
            assert!(error.message().contains("reserved bytes"), "{error}");
            if golden.is_slot() {
                let alone = wal::decode_header("slot", &bytes[..wal::HEADER_BYTES]);
                assert!(alone.is_err(), "an anchor check must refuse it too");
            }
        }
    }
}

/// Fields whose objects are maps: any name may stand in them.
const MAPS: [&str; 9] = [
    "config",
    "settings",
    "claims",
    "merging",
    "pins",
    "attributes",
    "columns",
    "sections",
    "parts",
];

/// Puts a field that nobody knows into every object, one at a time.
fn with_unknown_field(value: &Value, out: &mut Vec<Value>, place: &dyn Fn(Value) -> Value) {
    match value {
        Value::Object(fields) => {
            let mut more = fields.clone();
            more.insert("zz_strange".to_owned(), Value::from(1));
            out.push(place(Value::Object(more)));
            for (name, inner) in fields {
                let place = |changed| {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), changed);
                    place(Value::Object(fields))
                };
                match inner {
                    Value::Object(entries) if MAPS.contains(&name.as_str()) => {
                        for (key, inner) in entries {
                            with_unknown_field(inner, out, &|changed| {
                                let mut entries = entries.clone();
                                entries.insert(key.clone(), changed);
                                place(Value::Object(entries))
                            });
                        }
                    }
                    inner => with_unknown_field(inner, out, &place),
                }
            }
        }
        Value::Array(items) => {
            for (position, inner) in items.iter().enumerate() {
                with_unknown_field(inner, out, &|changed| {
                    let mut items = items.clone();
                    items[position] = changed;
                    place(Value::Array(items))
                });
            }
        }
        _ => {}
    }
}

#[test]
fn strange_field_at_any_depth_is_named() {
    let mut n_cases = 0;
    for golden in GOLDENS.iter().filter(|golden| golden.has_json()) {
        let value: Value = serde_json::from_str(&json_of(golden)).expect("it is JSON");
        let mut strange = Vec::new();
        with_unknown_field(&value, &mut strange, &|changed| changed);
        n_cases += strange.len();
        for value in strange {
            let json = value.to_string();
            let bytes = with_json(golden, &json);
            assert_corrupted(golden, &bytes, &json, &["zz_strange"]);
        }
    }
    assert!(n_cases > 30, "{n_cases} objects took a strange field");
}

#[test]
fn strange_spelling_of_the_same_value_is_corrupted() {
    for golden in GOLDENS.iter().filter(|golden| golden.has_json()) {
        let json = json_of(golden);
        let first_end = json.find(',').unwrap_or(json.len() - 1);
        let first = &json[1..first_end];
        for (what, other) in [
            ("white space", json.replacen('{', "{ ", 1)),
            ("a line's end", format!("{json}\n")),
            (
                "a field twice",
                json.replacen('{', &format!("{{{first},"), 1),
            ),
        ] {
            assert_corrupted(golden, &with_json(golden, &other), what, &[]);
        }
    }
    let manifest = golden("manifest");
    for (what, from, to) in [
        (
            "a key of a map twice",
            "\"config\":{",
            "\"config\":{\"note\":\"a\",",
        ),
        ("capital digits", "ffe\"", "FFE\""),
        ("a field left out", "\"rows_deleted\":null,", ""),
        (
            "a list for an object",
            "{\"slots_max\":3,\"bytes_max\":1048576}",
            "[3,1048576]",
        ),
        ("an escape", "\"reader\"", "\"\\u0072eader\""),
    ] {
        let json = json_of(manifest);
        assert!(json.contains(from), "{from} in {json}");
        let bytes = with_json(manifest, &json.replacen(from, to, 1));
        assert_corrupted(manifest, &bytes, what, &[]);
    }
}

fn golden(object: &str) -> &'static Golden {
    let found = GOLDENS.iter().find(|golden| golden.object == object);
    found.expect("the table has it")
}

#[test]
fn strange_frames_are_corrupted() {
    let write = golden("slot-write");
    let slot = write.read();
    let good = frames(&slot[wal::HEADER_BYTES..]);
    let kinds: Vec<u16> = good.iter().map(|frame| frame.kind).collect();
    let expected = [1, 2, 3, 5, 6, 4];
    assert_eq!(
        kinds, expected,
        "entry, rows, vectors of each width, deletes"
    );
    let refused = |what: &str, frames: &[Frame], part: &str| {
        let bytes = with_body(&slot, &stored_raw(frames));
        assert_corrupted(write, &bytes, what, &[part]);
    };
    for position in 0..good.len() {
        let mut twice = good.clone();
        twice.insert(position, good[position].clone());
        refused("a frame twice", &twice, "frame");
        let mut last = good.clone();
        last.push(good[position].clone());
        refused("a frame again at the end", &last, "frame");
        let mut swapped = good.clone();
        swapped.swap(position, (position + 1) % good.len());
        refused("frames in another order", &swapped, "frame");
        let mut longer = good.clone();
        longer[position].content.push(0);
        refused("a byte after a frame's content", &longer, "");
        if ![3, 5, 6].contains(&kinds[position]) {
            let mut numbered = good.clone();
            numbered[position].attr = 7;
            refused("an attribute where none belongs", &numbered, "attribute");
        }
    }
    for kind in [0, 7, u16::MAX] {
        let mut more = good.clone();
        more.push(Frame {
            kind,
            ..good[5].clone()
        });
        refused("a frame of another type", &more, "frame type");
    }
    // Rows that are no deleted ids: more columns than one.
    let mut columns = good.clone();
    columns[5].content = good[1].content.clone();
    refused("rows as deletes", &columns, "deleted ids");
    // Two streams, one after the other.
    let mut streams = good.clone();
    streams[1].content.extend_from_slice(&good[1].content);
    refused("two streams of rows", &streams, "stream");
}

#[test]
fn strange_rows_of_an_entry_that_writes_none_are_corrupted() {
    let rows = frames(&golden("slot-write").read()[wal::HEADER_BYTES..]);
    for object in ["slot-init", "slot-drop"] {
        let golden = golden(object);
        let slot = golden.read();
        for strange in &rows[1..] {
            let mut frames = frames(&slot[wal::HEADER_BYTES..]);
            frames.push(strange.clone());
            let bytes = with_body(&slot, &stored_raw(&frames));
            let what = format!("a frame of type {}", strange.kind);
            assert_corrupted(golden, &bytes, &what, &["non-write entry"]);
        }
    }
}
