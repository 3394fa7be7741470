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
/// Most entries of a sparse vector, stored or asked for (the public API's limit).
pub const SPARSE_ENTRIES_MAX: usize = 1_024;
/// Largest `limit`, and largest `offset + limit`, rows (the public API's limit).
pub const QUERY_LIMIT_MAX: usize = 10_000;
/// Deepest nesting of a filter: bounds recursion on hostile input.
pub const FILTER_DEPTH_MAX: usize = 64;
/// Most nodes of a filter, list operands counted one each: bounds work on hostile input.
pub const FILTER_NODES_MAX: usize = 100_000;
/// Longest filter written as text, bytes: bounds what parsing it takes.
pub const FILTER_TEXT_BYTES_MAX: usize = 64 << 10;
/// Most globs and regular expressions of a filter: bounds what compiling them costs.
pub const FILTER_PATTERNS_MAX: usize = 64;
/// Longest glob or regular expression, bytes.
pub const PATTERN_BYTES_MAX: usize = 1_024;
/// Largest compiled pattern, bytes: bounds memory, and the steps a byte of text may cost.
pub const PATTERN_PROGRAM_BYTES_MAX: usize = 256 << 10;
/// Memory that matching a pattern takes to be fast, bytes, for each thread; what needs more is slower.
pub const PATTERN_CACHE_BYTES_MAX: usize = 256 << 10;
/// Deepest nesting of `{...}` in a glob.
pub const GLOB_DEPTH_MAX: usize = 32;
/// Most keys of an `order by` (the public API's limit).
pub const ORDER_KEYS_MAX: usize = 8;
/// Most numbers one query computes over rows (the public API's limit).
pub const FOLDS_MAX: usize = 8;
/// Most attributes that tell groups apart: a key of each is kept for each group.
pub const GROUP_KEYS_MAX: usize = 8;
/// Most bytes of the keys of the groups that one part of a scan keeps: bounds memory where keys are long.
pub const GROUPED_KEY_BYTES_MAX: usize = 64 << 20;
/// Most queries in one request (the public API's limit).
pub const QUERIES_MAX: usize = 16;
/// Deepest nesting of a rank expression: bounds recursion on hostile input.
pub const RANK_DEPTH_MAX: usize = 32;
/// Most clauses of a rank expression: each costs a number for every row.
pub const RANK_CLAUSES_MAX: usize = 256;
/// Most clauses of all rank expressions of a request.
pub const REQUEST_CLAUSES_MAX: usize = 1_024;
/// Most computed attributes of a query (the public API's limit).
pub const COMPUTE_ATTRIBUTES_MAX: usize = 256;
/// Most searches of one measurement of recall: each looks at the namespace twice.
pub const RECALL_SEARCHES_MAX: usize = 1_000;
/// Most questions of one request (the public API's limit).
pub const SUBQUERIES_MAX: usize = 16;
/// Largest request body, bytes, as sent and decoded: one request is one slot until larger requests are
/// split into parts.
pub const REQUEST_BODY_BYTES_MAX: usize = 256 << 20;
/// Most rows one `delete_by_filter` deletes (the public API's limit).
pub const DELETE_BY_FILTER_ROWS_MAX: usize = 5_000_000;
/// Most rows one `patch_by_filter` patches (the public API's limit).
pub const PATCH_BY_FILTER_ROWS_MAX: usize = 50_000;
/// Most bytes of stored documents that a group of writes patches or looks at, and of what one by-filter
/// write changes: they are held in memory, and make one slot.
pub const STORED_DOCUMENTS_BYTES_MAX: u64 = 128 << 20;
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
/// Most rows of a segment: a row's number is a u32, with room to add to it.
pub const SEGMENT_ROWS_MAX: u64 = 1 << 31;
/// Rows of segments that lack an index which one query needs, that it looks at one by one.
pub const UNINDEXED_ROWS_MAX: u64 = 200_000;
/// Attributes with stats in a segment's entry: bounds entries and manifests; the rest is never passed over.
pub const SEGMENT_STATS_MAX: usize = 64;
/// Bytes of a text bound in a segment's stats.
pub const STATS_TEXT_BYTES_MAX: usize = 64;
/// Distinct values of an attribute that a segment's stats list at most; one with more has only its ends.
pub const STATS_VALUES_MAX: usize = 16;
/// Bytes of a listed value that is text.
pub const STATS_VALUE_BYTES_MAX: usize = 32;
/// Values listed in the stats of one segment, of all attributes together: bounds entries and manifests.
pub const SEGMENT_VALUES_MAX: usize = 128;
/// Tail memory from which a namespace is flushed: one segment of a size worth reading, bytes.
pub const FLUSH_BYTES: u64 = 64 << 20;
/// Slots after the last flush from which a namespace in a store over HTTP is flushed: bounds what an open
/// must read.
pub const FLUSH_SLOTS_HTTP: u64 = 2_048;
/// The same on a local disk, where a slot is read in microseconds.
pub const FLUSH_SLOTS_LOCAL: u64 = 16_384;
/// How long after a write a namespace is flushed at the latest, milliseconds: long, since segments are not
/// merged yet and each costs every query a little.
pub const FLUSH_AGE_MS: u64 = 60 * 60 * 1_000;
/// Segments of about one size that are merged with each other.
pub const COMPACTION_FAN_IN: usize = 8;
/// Small segments beyond which some are merged whatever their sizes.
pub const COMPACTION_SEGMENTS_MAX: usize = 16;
/// Logical bytes of a whole segment: a merge takes about three times as much memory.
pub const COMPACTION_TARGET_BYTES: u64 = 256 << 20;
/// Rows of a whole segment.
pub const COMPACTION_TARGET_ROWS: u64 = 1_000_000;
/// Share of a segment's rows that are gone from which it is written anew, percent.
pub const COMPACTION_DEAD_PERCENT: u64 = 20;
/// Fewest rows gone for that.
pub const COMPACTION_DEAD_ROWS: u64 = 1_000;
/// Slowest pace that merges may be held to, bytes a second: others take a slower worker for dead.
pub const COMPACTION_RATE_MIN: u64 = 4 << 20;
/// How long states of the past can be had, milliseconds.
pub const HISTORY_MS: u64 = 60 * 60 * 1_000;
/// Manifests that stay for it at most: a state refers to each.
pub const HISTORY_MANIFESTS_MAX: usize = 256;
/// How long after something was replaced garbage is looked for, and how long between two looks, milliseconds: two LISTs
/// each.
pub const GC_INTERVAL_MS: u64 = 15 * 60 * 1_000;
/// How long a claim may stand without a file of its being written before its files are taken for garbage, milliseconds.
pub const GC_CLAIM_GRACE_MS: u64 = 60 * 60 * 1_000;
/// How long a dropped namespace can be had back, milliseconds.
pub const UNDELETE_GRACE_MS: u64 = 24 * 60 * 60 * 1_000;
/// Newest blocks of a log that stay although they are flushed.
pub const KEEP_BLOCKS: u64 = 2;
/// How long another node's claim to flush is respected at first: longer than most flushes take.
pub const CLAIM_PATIENCE_MS: u64 = 5_000;
/// Namespaces that one dirty hint names: bounds what a reader takes in at once.
pub const DIRTY_NAMESPACES_MAX: usize = 1_024;
/// Largest dirty hint that is read, bytes: so many of the longest names and some room.
pub const DIRTY_HINT_BYTES_MAX: u64 = 512 << 10;
/// Namespaces of this node's own commits that wait to be hinted at: beyond it the sweep finds them.
pub const DIRTY_NOTES_MAX: usize = 65_536;
/// Dirty hints that one round of the finder lists: what is beyond comes in the next rounds.
pub const HINTS_LISTED_MAX: usize = 1_000;
/// Dirty hints that one round of the finder reads.
pub const HINTS_READ_MAX: usize = 64;
/// Namespaces that the finder remembers from hints: beyond it no more hints are read until some are done.
pub const HINTED_NAMESPACES_MAX: usize = 65_536;
/// Namespaces that the finder of a node sees to at once.
pub const FOUND_IN_FLIGHT_MAX: usize = 4;
/// Namespaces that one round of the finder looks at in its sweep.
pub const SWEPT_A_ROUND_MAX: usize = 16;
/// Between two rounds of the finder, milliseconds.
pub const FIND_INTERVAL_MS: u64 = 10_000;
/// Between two sweeps over all names, milliseconds.
pub const SWEEP_MS: u64 = 24 * 60 * 60 * 1_000;
/// Without use for so long, a namespace with nothing to flush is closed, milliseconds.
pub const IDLE_MS: u64 = 10 * 60 * 1_000;
/// Open namespaces of a node from which idle ones are closed.
pub const OPEN_NAMESPACES_MAX: usize = 10_000;
/// A block of a segment's file, bytes: what one checksum covers and the cache keeps. Part of the format.
pub const FILE_BLOCK_BYTES: u64 = 64 << 10;
/// Unwanted bytes between two wanted blocks that are read along rather than asked around.
pub const CACHE_GAP_BYTES_MAX: u64 = 128 << 10;
/// Largest request for blocks, bytes: several at once are faster than one that is larger.
pub const CACHE_GET_BYTES_MAX: u64 = 8 << 20;
/// Requests for blocks under way at once on a node: bounds connections.
pub const CACHE_GETS_MAX: usize = 64;
/// Most bytes, and most bytes of blocks touched, of one read through the cache: bounds what a caller holds.
pub const CACHE_READ_BYTES_MAX: u64 = 256 << 20;
/// Largest cache of a node that is not told a size, bytes: answers over a million vectors in well under 600 MiB.
pub const CACHE_BYTES_DEFAULT_MAX: u64 = 256 << 20;
/// Smallest cache, bytes: below it hardly more than the request under way would stay.
pub const CACHE_BYTES_MIN: u64 = 16 << 20;
