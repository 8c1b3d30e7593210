//! The room from outside: requests to the router, and streams over real sockets.

mod blobs;
mod errors;
mod feed;
mod rig;
mod server;
mod shapes;
mod sse;
mod sync;
mod ws;
