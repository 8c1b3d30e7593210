//! The handshake: nobody is admitted who does not hold the secret.

use bytes::BytesMut;
use peat_mesh_core::proof::{OPENING_BYTES, Role, Session};
use peat_mesh_core::wire::{Decoder, Frame};
use peat_mesh_core::{EndpointId, limits};
use zeroize::Zeroizing;

use super::input::Input;

const SECRET: [u8; 32] = *b"the formation's secret, 32 bytes";
/// The longest first frame: a name with its length, and the incarnation.
const HELLO_BYTES_MAX: usize = limits::NODE_NAME_BYTES_MAX + 16;

/// A stranger says what the input says, or changes what a member said: here, in another session, as the other end, with
/// another secret, or under another id.
///
/// # Panics
/// When anything but the proof of this session is believed, or the hello after it is read past its limit.
pub fn handshake(data: &[u8]) {
    let mut input = Input::new(data);
    let session = session(SECRET, [1; 32], [2; 32], [3; 32]);
    let (role, other) = match input.byte() % 2 {
        0 => (Role::Dialer, Role::Acceptor),
        _ => (Role::Acceptor, Role::Dialer),
    };
    let right = session.opening(role);
    assert_eq!(session.verify(role, &right), Ok(()), "a member is believed");
    let said: [u8; OPENING_BYTES] = match input.byte() % 8 {
        // Anything at all.
        0 => input.array(),
        // The right words with some bits turned.
        1 => turned(right, &mut input),
        // An echo of what was said to it.
        2 => turned(session.opening(other), &mut input),
        // A member's words from another connection, from or to somebody else, or from another formation.
        3 => self::session(SECRET, near([1; 32], &mut input), [2; 32], [3; 32]).opening(role),
        4 => self::session(SECRET, [1; 32], near([2; 32], &mut input), [3; 32]).opening(role),
        5 => self::session(SECRET, [1; 32], [2; 32], near([3; 32], &mut input)).opening(role),
        6 => self::session(near(SECRET, &mut input), [1; 32], [2; 32], [3; 32]).opening(role),
        // The right header before a guess.
        _ => std::array::from_fn(|at| if at < 6 { right[at] } else { input.byte() }),
    };
    let verdict = session.verify(role, &said);
    assert_eq!(verdict.is_ok(), said == right, "only the proof of this very session is believed");

    // What comes after the proof is a hello of bounded length, or nothing.
    let rest: Vec<u8> = std::iter::from_fn(|| (!input.is_empty()).then(|| input.byte())).collect();
    let mut stream = BytesMut::from(&rest[..]);
    if let Ok(Some(frame)) = Decoder::with_limit(HELLO_BYTES_MAX).take(&mut stream) {
        assert!(rest.len() - stream.len() <= HELLO_BYTES_MAX + 6, "a first frame is short");
        if let Frame::Hello(hello) = frame {
            assert!(hello.name.as_str().len() <= limits::NODE_NAME_BYTES_MAX);
        }
    }
}

fn session(secret: [u8; 32], exporter: [u8; 32], dialer: [u8; 32], acceptor: [u8; 32]) -> Session {
    Session::new(Zeroizing::new(secret), exporter, EndpointId(dialer), EndpointId(acceptor))
}

/// One byte turned into another one, or all as they are.
fn turned<const N: usize>(mut bytes: [u8; N], input: &mut Input<'_>) -> [u8; N] {
    let at = input.below(N);
    bytes[at] ^= input.byte();
    bytes
}

fn near(bytes: [u8; 32], input: &mut Input<'_>) -> [u8; 32] {
    turned(bytes, input)
}
