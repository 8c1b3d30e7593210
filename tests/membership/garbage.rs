//! Bytes on the node's ports that are neither QUIC nor HTTP.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};

use crate::common::PATIENCE;
use crate::raw::Honest;

/// Bytes without a pattern, the same in every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn udp_garbage_on_the_quic_port_harms_nothing() {
    let mut honest = Honest::start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = honest.victim.quic();
    for seed in 0..3_000_u64 {
        let mut datagram = noise(seed, 1 + (seed as usize * 37) % 1400);
        match seed % 3 {
            // A long header of QUIC version 1, an initial packet.
            0 if datagram.len() > 8 => datagram[..5].copy_from_slice(&[0xc3, 0, 0, 0, 1]),
            // A short header.
            1 => datagram[0] = 0x40 | (datagram[0] & 0x3f),
            _ => {}
        }
        socket.send_to(&datagram, to).unwrap();
    }
    socket.send_to(&[], to).unwrap();
    honest.check_they_go_on();
    honest.check_clean_end();
}

#[test]
fn tcp_garbage_on_the_broker_port_harms_nothing() {
    let mut honest = Honest::start();
    let long_header = [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'a'; 200_000], b"\r\n\r\n".to_vec()].concat();
    let lies = b"PUT /api/v1/documents/evil/x HTTP/1.1\r\nhost: n\r\ncontent-type: application/json\r\n\
                 content-length: 100\r\n\r\n{\"a\":"
        .to_vec();
    let twice = b"PUT /api/v1/documents/evil/y HTTP/1.1\r\nhost: n\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}"
        .to_vec();
    let mut all = vec![long_header, lies, twice, vec![0; 1 << 20], b"\x16\x03\x01\x02\x00\x01".to_vec()];
    all.extend((0..50).map(|seed| noise(seed, 5_000)));
    for garbage in all {
        let mut stream = TcpStream::connect(honest.victim.broker()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The node may hang up before all of it is there; it has to hang up in the end.
        let _ = stream.write_all(&garbage);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    honest.check_they_go_on();
    honest.check_clean_end();
}
