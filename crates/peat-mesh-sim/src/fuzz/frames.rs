//! The frame decoder: what it takes comes out of the encoder as it went in.

use bytes::{Bytes, BytesMut};
use peat_mesh_core::wire::{Decoder, Frame, HEADER_BYTES};

/// The most memory that decoding and encoding so many bytes may take at any time, in bytes.
///
/// The smallest frame with the largest content is a list of items that are empty texts and lists: some 5 bytes become
/// some 100, and a list that grows has twice the room it needs and is copied.
#[must_use]
pub fn allocated_bytes_max(input_bytes: usize) -> usize {
    64 * 1024 + 128 * input_bytes
}

/// Cuts a stream of bytes into frames; and reads all of them as the body of a frame.
///
/// # Panics
/// When a frame that was taken does not come out as it went in.
pub fn frames(data: &[u8]) {
    let mut stream = BytesMut::from(data);
    let decoder = Decoder::default();
    while let Ok(Some(frame)) = decoder.take(&mut stream) {
        there_and_back(&frame);
    }
    if let Some((kind, body)) = data.split_first()
        && let Ok(frame) = Frame::decode(*kind, Bytes::copy_from_slice(body))
    {
        there_and_back(&frame);
    }
}

fn there_and_back(frame: &Frame) {
    let mut bytes = BytesMut::from(&frame.encode()[..]);
    let again = Decoder::default().take(&mut bytes);
    assert_eq!(again.as_ref(), Ok(&Some(frame.clone())), "what is decoded can be encoded and decoded again");
    assert!(bytes.is_empty(), "a frame has one length");
    let encoded = frame.encode();
    let again = Frame::decode(encoded[0], encoded.slice(HEADER_BYTES..)).map(|frame| frame.encode());
    assert_eq!(again, Ok(encoded), "a frame has one encoding");
}
