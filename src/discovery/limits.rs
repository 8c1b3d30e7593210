//! Bounds of what sources say about peers, with their units. Addresses and peers are bounded by the core.

/// Entries of metadata per peer.
pub const METADATA_COUNT_MAX: usize = 32;
/// Bytes of the key of an entry.
pub const METADATA_KEY_BYTES_MAX: usize = 64;
/// Bytes of the value of an entry.
pub const METADATA_VALUE_BYTES_MAX: usize = 512;
/// Bytes of a relay's URL.
pub const RELAY_URL_BYTES_MAX: usize = 512;

/// EndpointSlices that are held. Kubernetes puts 100 endpoints in a slice, so this is several times the
/// peers that a node knows; what is beyond is left out and the status says so.
pub const SLICES_COUNT_MAX: usize = 128;
/// EndpointSlices that are asked for at a time.
pub const SLICES_PER_PAGE_COUNT: u32 = 64;
/// Endpoints of a slice that are looked at: the most that Kubernetes allows.
pub const ENDPOINTS_PER_SLICE_COUNT_MAX: usize = 1_000;
/// Bytes of a label selector.
pub const SELECTOR_BYTES_MAX: usize = 1_024;
/// Bytes of what an API server says that are shown.
pub const SERVER_MESSAGE_BYTES_MAX: usize = 300;
