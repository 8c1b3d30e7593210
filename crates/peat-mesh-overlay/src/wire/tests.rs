use iroh_gossip::proto::{Command, Config, InEvent, OutEvent, Scope as BroadcastScope, State, TopicId};
use n0_future::time::Instant;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

const A: Key = Key([1; 32]);
const B: Key = Key([2; 32]);

fn state(me: Key) -> State<Key, StdRng> {
    let mut state = State::new(me, proto::PeerData::default(), Config::default(), StdRng::seed_from_u64(1));
    command(&mut state, Command::Join(Vec::new()));
    state
}

fn sent(events: impl Iterator<Item = OutEvent<Key>>) -> Vec<proto::Message<Key>> {
    let sent = |event| if let OutEvent::SendMessage(_, message) = event { Some(message) } else { None };
    events.filter_map(sent).collect()
}

fn command(state: &mut State<Key, StdRng>, command: Command<Key>) -> Vec<proto::Message<Key>> {
    sent(state.handle(InEvent::Command(TopicId::from_bytes(TOPIC), command), Instant::now(), None))
}

/// Over the wire, as one node and the next one see it.
fn cross(message: &proto::Message<Key>) -> (Message, proto::Message<Key>) {
    let ours = Message::from_proto(message);
    let read = Message::decode(&ours.encode()).unwrap();
    assert_eq!(read, ours);
    (ours, read.into_proto().unwrap())
}

#[test]
fn messages_of_the_protocol_cross_the_wire_and_are_the_same() {
    let (mut a, mut b) = (state(A), state(B));
    let mut seen = Vec::new();
    let mut waiting = vec![(B, command(&mut a, Command::Join(vec![B])).remove(0))];
    let mut steps = 0;
    while let Some((to, message)) = waiting.pop() {
        let (ours, theirs) = cross(&message);
        assert_eq!(format!("{message:?}"), format!("{theirs:?}"));
        let (state, from) = if to == A { (&mut a, B) } else { (&mut b, A) };
        let replies = sent(state.handle(InEvent::RecvMessage(from, theirs), Instant::now(), None));
        waiting.extend(replies.into_iter().map(|reply| (from, reply)));
        if waiting.is_empty() && steps < 2 {
            steps += 1;
            let order = match steps {
                1 => Command::Broadcast("hello".into(), BroadcastScope::Swarm),
                _ => Command::Quit,
            };
            waiting.extend(command(&mut a, order).into_iter().map(|message| (B, message)));
        }
        seen.push(ours);
    }
    let is_update =
        |message: &Message| *message == Message::Update { content: "hello".into(), scope: Scope::Swarm(0) };
    assert!(seen.iter().any(is_update), "{seen:?}");
    assert!(matches!(seen[0], Message::Members(Members::Join(_))), "{seen:?}");
    assert!(seen.iter().any(|it| matches!(it, Message::Members(Members::Neighbour(..)))), "{seen:?}");
    assert!(seen.iter().any(|it| matches!(it, Message::Members(Members::Disconnect { .. }))), "{seen:?}");
}

#[test]
fn every_kind_becomes_a_message_of_the_protocol_and_comes_back() {
    let node = Node { id: A, addresses: Some(encode_addresses(&["10.0.0.1:11204".parse().unwrap()])) };
    let all = [
        Message::Members(Members::Join(None)),
        Message::Members(Members::ForwardJoin(node.clone(), 6)),
        Message::Members(Members::Shuffle(B, vec![node.clone()], 6)),
        Message::Members(Members::ShuffleReply(vec![node])),
        Message::Members(Members::Neighbour(Priority::Low, None)),
        Message::Members(Members::Disconnect { is_alive: true, obsolete: false }),
        Message::Update { content: "x".into(), scope: Scope::Swarm(3) },
        Message::Prune,
        Message::Graft { id: Some([7; 32]), hops: 2 },
        Message::Announce(vec![([7; 32], 2), ([8; 32], 3)]),
    ];
    for message in all {
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes).unwrap(), message);
        assert_eq!(Message::from_proto(&message.into_proto().unwrap()).encode(), bytes);
    }
}

#[test]
fn an_update_costs_a_few_bytes_more_than_itself_and_an_announcement_ten() {
    let update = Message::Update { content: vec![7; 300].into(), scope: Scope::Swarm(3) };
    assert_eq!(update.encode().len(), 300 + 5);
    assert_eq!(Message::Hint(vec![([7; 8], 2)]).encode().len(), 2 + 9);
    assert_eq!(Message::Prune.encode()[..], [2], "golden");
    assert_eq!(Message::Hint(Vec::new()).encode()[..], [5, 0], "golden");
}

#[test]
fn what_breaks_a_limit_is_refused_with_the_reason() {
    let bad = [
        Message::Update { content: vec![0; limits::PAYLOAD_BYTES_MAX + 1].into(), scope: Scope::Swarm(0) },
        Message::Update { content: "x".into(), scope: Scope::Swarm(u16::MAX) },
        Message::Update { content: "x".into(), scope: Scope::Neighbours },
        Message::Announce(vec![([0; 32], 0); limits::ANNOUNCED_PER_MESSAGE_MAX + 1]),
        Message::Hint(vec![([0; 8], 0); limits::ANNOUNCED_PER_MESSAGE_MAX + 1]),
        Message::Spell(vec![[0; 8]; limits::ANNOUNCED_PER_MESSAGE_MAX + 1]),
        Message::Members(Members::ShuffleReply(vec![
            Node { id: A, addresses: None };
            limits::NODES_PER_MESSAGE_MAX + 1
        ])),
        Message::Members(Members::Join(Some(vec![0; limits::ADDRESSES_BYTES_MAX + 1].into()))),
        Message::Members(Members::ForwardJoin(Node { id: A, addresses: None }, u16::MAX)),
    ];
    for message in bad {
        let problem = Message::decode(&message.encode()).unwrap_err();
        assert!(matches!(problem, GossipError::TooMuch { .. }), "{problem}");
    }
    let mut long = Message::Prune.encode().to_vec();
    long.push(0);
    assert!(Message::decode(&long).is_err());
    assert!(matches!(Message::decode(&[9, 9]), Err(GossipError::Layout(_))));
    assert!(matches!(Message::decode(&[]), Err(GossipError::Layout(_))));
}
