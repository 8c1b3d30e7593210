use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::limits;
use crate::scope::Collections;

fn doc(text: &str) -> DocId {
    text.parse().unwrap()
}

fn summary(count: u64) -> Summary {
    if count == 0 { Summary::EMPTY } else { Summary { count, fingerprint: Fingerprint([7; 12]) } }
}

fn examples() -> Vec<(Frame, &'static str)> {
    let range = Prefix::of(Position(0xabc << 116), 3);
    let hello = Hello { name: NodeName::new("alpha/n0").unwrap(), incarnation: 0x0102 };
    let mut parts = [Summary::EMPTY; 16];
    parts[1] = summary(300);
    let position = Position((0xabc << 116) | 5);
    let want = Want {
        doc: doc("c/x"),
        stage: WantStage::Have,
        heads: Heads::new(vec![ChangeHash([1; 32])]),
        have: vec![],
    };
    let changes = Changes {
        repair: true,
        audience: vec![NodeTag([9; 8])],
        documents: vec![(doc("c/x"), Bytes::from_static(b"abc"))],
    };
    vec![
        (Frame::Hello(hello), "0100000000110 8616c7068612f6e300000000000000102"),
        (Frame::Probe { round: 7, all: summary(300) }, "02000000001200000007ac02070707070707070707070707"),
        (Frame::InStep { round: 7 }, "03000000000400000007"),
        (
            Frame::Ranges(vec![RangeGroup { prefix: range, parts }]),
            "0400000000210103abc000ac020707070707070707070707070000000000000000000000000000",
        ),
        (
            Frame::Items(vec![RangeItems { prefix: range, items: vec![(position, Digest([2; 8]))] }]),
            "05000000001d0103abc001abc000000000000000000000000000050202020202020202",
        ),
        (Frame::Fetch(vec![position]), "06000000001101abc00000000000000000000000000005"),
        (
            Frame::Want(vec![want]),
            "070000000028 0103632f7801 01 0101010101010101010101010101010101010101010101010101010101010101 00",
        ),
        (Frame::Changes(changes), "080000000013 01 01 0909090909090909 01 03632f78 03 616263"),
        (
            Frame::Scope(Scope {
                send: Collections::All,
                receive: Collections::Only(["c".to_owned()].into()),
            }),
            "0b0000000006 01 00 00 01 0163",
        ),
    ]
}

fn decode(bytes: &[u8]) -> Result<Option<Frame>, WireError> {
    Decoder::default().take(&mut BytesMut::from(bytes))
}

#[test]
fn the_frames_of_version_1_keep_their_bytes() {
    for (frame, golden) in examples() {
        let encoded = data_encoding::HEXLOWER.encode(&frame.encode());
        assert_eq!(encoded, golden.replace(' ', ""), "{frame:?}");
        assert_eq!(decode(&frame.encode()), Ok(Some(frame)));
    }
}

#[test]
fn a_frame_that_is_cut_short_or_has_bytes_left_over_is_refused() {
    for (frame, _) in examples() {
        let encoded = frame.encode();
        assert_eq!(decode(&encoded[..encoded.len() - 1]), Ok(None), "not all there yet");
        for cut in 0..encoded.len() - HEADER_BYTES {
            let body = encoded.slice(HEADER_BYTES..HEADER_BYTES + cut);
            assert!(Frame::decode(encoded[0], body).is_err(), "{frame:?} cut to {cut}");
        }
        let longer = [&encoded[HEADER_BYTES..], &[0]].concat();
        assert!(Frame::decode(encoded[0], longer.into()).is_err(), "{frame:?} with a byte more");
    }
}

#[test]
fn a_length_over_the_limit_is_refused_from_the_header_alone() {
    let bytes = (limits::FRAME_BYTES_MAX as u32 + 1).to_be_bytes();
    let header = [8, 0, bytes[0], bytes[1], bytes[2], bytes[3]];
    assert!(matches!(decode(&header), Err(WireError::TooLarge { .. })));
    assert!(matches!(
        Decoder::with_limit(10).body_bytes(&[1, 0, 0, 0, 0, 11]),
        Err(WireError::TooLarge { .. })
    ));
    assert!(matches!(decode(&[9, 0, 0, 0, 0, 0]), Err(WireError::UnknownKind { kind: 9 })));
}

#[test]
fn a_count_that_the_body_cannot_hold_takes_no_memory() {
    // 256 documents named, four bytes there.
    let body = [0, 0, 0x80, 0x02, 0, 0, 0, 0];
    let refused = Frame::decode(8, Bytes::copy_from_slice(&body));
    assert_eq!(refused, Err(WireError::Length { frame: "changes", what: "too short" }));
}

#[test]
fn a_position_outside_its_range_is_refused() {
    let range = Prefix::of(Position(0xabc << 116), 3);
    let items = vec![(Position(1), Digest([2; 8]))];
    let encoded = Frame::Items(vec![RangeItems { prefix: range, items }]).encode();
    assert!(matches!(decode(&encoded), Err(WireError::Field { field: "position", .. })));
}

#[test]
fn ranges_that_overlap_or_are_out_of_order_are_refused() {
    let range =
        |first: u128, depth| RangeItems { prefix: Prefix::of(Position(first << 116), depth), items: vec![] };
    for ranges in [
        vec![range(0xabc, 3), range(0xabc, 3)],
        vec![range(0xabc, 3), range(0xabb, 3)],
        vec![range(0xa00, 1), range(0xabc, 3)],
        vec![range(0, 0), range(0, 0)],
    ] {
        let refused = decode(&Frame::Items(ranges.clone()).encode());
        assert!(matches!(refused, Err(WireError::Field { field: "range", .. })), "{ranges:?}");
    }
    assert!(decode(&Frame::Items(vec![range(0xabb, 3), range(0xabc, 3)]).encode()).is_ok());
}

proptest! {
    #[test]
    fn random_bytes_never_do_harm(kind in 0u8..12, body in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(frame) = Frame::decode(kind, body.into()) {
            prop_assert_eq!(decode(&frame.encode()), Ok(Some(frame)));
        }
    }

    #[test]
    fn a_flipped_bit_is_refused_or_gives_another_frame(which in 0usize..8, at in 0usize..400) {
        let (frame, _) = examples().swap_remove(which);
        let mut encoded = frame.encode().to_vec();
        let at = at % (encoded.len() * 8);
        encoded[at / 8] ^= 1 << (at % 8);
        prop_assert_ne!(decode(&encoded), Ok(Some(frame)));
    }
}
