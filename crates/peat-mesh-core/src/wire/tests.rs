use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::id::EndpointId;
use crate::limits;
use crate::presence::{Label, Link, Measure, PathKind, Stamp};
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
    let mut parts = [None; 16];
    parts[1] = summary(300).through(2);
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
            Frame::Ranges(vec![RangeGroup { prefix: range, window: 2, parts }]),
            "04000000000a01 83abc0 0002 07070707",
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
            Frame::Presence(vec![record()]),
            "090000000066 01 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
             03612f30 046e6f6465 05302e312e30 80d095ffbc31 0000000000000102 07 01 05 e807 02 02 \
             0101010101010101 00 01 04 0a0000022bc4 ac02 0a \
             0202020202020202 01 02 00 00 00",
        ),
        (
            Frame::Scope(Scope {
                send: Collections::All,
                receive: Collections::Only(["c".to_owned()].into()),
            }),
            "0b0000000006 01 00 00 01 0163",
        ),
        (
            Frame::Confirm { id: 5, doc: doc("c/x"), heads: Heads::new(vec![ChangeHash([1; 32])]) },
            "0c000000002d 0000000000000005 03632f78 01 \
             0101010101010101010101010101010101010101010101010101010101010101",
        ),
        (Frame::Confirmed { id: 5 }, "0d0000000008 0000000000000005"),
    ]
}

fn record() -> Record {
    let near = Measure {
        path: PathKind::Direct,
        address: Some("10.0.0.2:11204".parse().unwrap()),
        rtt_us: 300,
        loss_per_mille: 10,
    };
    let far = Measure { path: PathKind::Relay, ..Measure::default() };
    Record {
        origin: EndpointId([0xaa; 32]),
        name: NodeName::new("a/0").unwrap(),
        role: Label::new("node").unwrap(),
        version: Label::new("0.1.0").unwrap(),
        stamp: Stamp { epoch: 1_700_000_000_000, incarnation: 0x0102, sequence: 7 },
        is_here: true,
        age_ms: 5,
        uptime_ms: 1_000,
        links_total: 2,
        links: vec![
            Link { peer: NodeTag([1; 8]), is_silent: false, measure: near },
            Link { peer: NodeTag([2; 8]), is_silent: true, measure: far },
        ],
    }
}

#[test]
fn a_presence_record_that_breaks_a_rule_is_refused_with_the_field() {
    let broken = |change: &dyn Fn(&mut Record)| {
        let mut record = record();
        change(&mut record);
        match decode(&Frame::Presence(vec![record]).encode()) {
            Err(WireError::Field { frame: "presence", field, .. }) => field,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(broken(&|record| record.links.reverse()), "link");
    assert_eq!(broken(&|record| record.links[1].peer = NodeTag([1; 8])), "link");
    assert_eq!(broken(&|record| record.links_total = 1), "number of links");
    assert_eq!(broken(&|record| record.links[0].measure.loss_per_mille = 1_001), "loss");
    assert_eq!(broken(&|record| record.links[0].measure.rtt_us = 1 << 32), "round-trip time");
    assert_eq!(broken(&|record| record.age_ms = limits::PRESENCE_MS_MAX + 1), "age");
    assert_eq!(broken(&|record| record.stamp.epoch = u64::MAX >> 1), "epoch");
    let link = |n: u8| Link { peer: NodeTag([n; 8]), is_silent: false, measure: Measure::default() };
    assert_eq!(
        broken(&|record| {
            record.links = (0..=limits::LINKS_PER_RECORD_MAX as u8).map(link).collect();
            record.links_total = 65;
        }),
        "links"
    );
    // The role is behind the origin and the name.
    let mut encoded = Frame::Presence(vec![record()]).encode().to_vec();
    encoded[HEADER_BYTES + 1 + 32 + 4 + 1] = b' ';
    assert!(matches!(decode(&encoded), Err(WireError::Field { field: "role", .. })));
    let many = vec![record(); limits::PRESENCE_RECORDS_PER_FRAME_MAX + 1];
    let refused = decode(&Frame::Presence(many).encode());
    assert!(matches!(refused, Err(WireError::Field { field: "records", .. })));
}

fn decode(bytes: &[u8]) -> Result<Option<Frame>, WireError> {
    Decoder::default().take(&mut BytesMut::from(bytes))
}

#[test]
fn the_frames_of_version_3_keep_their_bytes() {
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
    assert!(matches!(decode(&[13, 0, 0, 0, 0, 9]), Err(WireError::TooLarge { .. })));
    assert!(matches!(decode(&[12, 0, 0, 1, 0, 0]), Err(WireError::TooLarge { .. })));
    assert!(matches!(decode(&[14, 0, 0, 0, 0, 0]), Err(WireError::UnknownKind { kind: 14 })));
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
    fn random_bytes_never_do_harm(kind in 0u8..15, body in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(frame) = Frame::decode(kind, body.into()) {
            prop_assert_eq!(decode(&frame.encode()), Ok(Some(frame)));
        }
    }

    #[test]
    fn a_flipped_bit_is_refused_or_gives_another_frame(which in 0usize..12, at in 0usize..400) {
        let (frame, _) = examples().swap_remove(which);
        let mut encoded = frame.encode().to_vec();
        let at = at % (encoded.len() * 8);
        encoded[at / 8] ^= 1 << (at % 8);
        prop_assert_ne!(decode(&encoded), Ok(Some(frame)));
    }
}

#[test]
fn parts_that_look_the_same_through_one_window_differ_through_another() {
    let mut fingerprint = [7; 12];
    let one = Summary { count: 1, fingerprint: Fingerprint(fingerprint) };
    fingerprint[5] = 8;
    let other = Summary { count: 1, fingerprint: Fingerprint(fingerprint) };
    let differs: Vec<bool> =
        (0..WINDOWS).map(|window| one.through(window) != other.through(window)).collect();
    assert_eq!(differs, [false, true, false]);
    assert_eq!(Summary::EMPTY.through(1), None);
}
