//! Every hard limit: its number, its unit, why.

/// Longest namespace name, bytes (the public API's limit).
pub const NAMESPACE_NAME_BYTES_MAX: usize = 128;
/// Longest string id, bytes (the public API's limit).
pub const ID_BYTES_MAX: usize = 64;
/// Longest attribute name, bytes (the public API's limit).
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 128;
/// Most attribute names a namespace may have (the public API's limit).
pub const ATTRIBUTES_MAX: usize = 1_024;
/// Largest value of one attribute, bytes; for an array its total (the public API's limit).
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 8 << 20;
/// Largest value of a filterable attribute, bytes; for an array per element (the public API's limit).
pub const FILTERABLE_VALUE_BYTES_MAX: usize = 4 << 10;
/// Largest document, bytes (the public API's limit).
pub const DOCUMENT_BYTES_MAX: usize = 64 << 20;
/// Most dimensions of a vector (the public API's limit).
pub const VECTOR_DIMS_MAX: usize = 10_752;
/// Most vector attributes in a namespace (the public API's limit).
pub const VECTOR_ATTRIBUTES_MAX: usize = 8;
/// Largest `limit`, and largest `offset + limit`, rows (the public API's limit).
pub const QUERY_LIMIT_MAX: usize = 10_000;
/// Deepest nesting of a filter: bounds recursion on hostile input.
pub const FILTER_DEPTH_MAX: usize = 64;
/// Most nodes of a filter, list operands counted one each: bounds work on hostile input.
pub const FILTER_NODES_MAX: usize = 100_000;
/// Most keys of an `order by` (the public API's limit).
pub const ORDER_KEYS_MAX: usize = 8;
/// Largest request body, bytes, as sent and decoded: one request is one slot until larger requests are
/// split into parts.
pub const REQUEST_BODY_BYTES_MAX: usize = 256 << 20;
/// A group of writes closes at this many body bytes, so that one slot stays one reasonable object.
pub const GROUP_BYTES_MAX: usize = 64 << 20;
/// Largest slot object accepted from a store, bytes: bounds memory on hostile or broken objects.
pub const SLOT_BYTES_MAX: usize = 512 << 20;
/// Slots of one block (protocol: rotation).
pub const BLOCK_SLOTS_MAX: u32 = 256;
/// Body bytes after which a block is closed (protocol: rotation).
pub const BLOCK_BYTES_MAX: u64 = 100 << 20;
/// Rows of one chunk of the tail.
pub const CHUNK_ROWS_MAX: usize = 4_096;
/// Tail bytes from which writes are slowed down.
pub const TAIL_BYTES_SLOW: u64 = 128 << 20;
/// Tail bytes from which writes are refused with 429.
pub const TAIL_BYTES_MAX: u64 = 256 << 20;
/// Batch ids remembered in the state, one per slot: lets a writer whose anchor failed find its own batch.
pub const BATCH_IDS_KEPT: usize = 1_024;
/// Writers waiting for a namespace's next commit: beyond it 503.
pub const WRITE_QUEUE_MAX: usize = 4_096;
/// Lost slots after which a write gives up with 503: another node is writing much faster.
pub const LOST_SLOTS_MAX: u32 = 64;
/// Requests with an `Idempotency-Key` remembered in the state.
pub const KEYED_REQUESTS_KEPT: usize = 1_024;
