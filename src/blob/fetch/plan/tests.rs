//! Parts are handed out, come, and do not come.

use super::*;

const MIB: u64 = 1024 * 1024;
const A: EndpointId = EndpointId([1; 32]);
const B: EndpointId = EndpointId([2; 32]);
const C: EndpointId = EndpointId([3; 32]);

fn plan(size: u64) -> Plan {
    let mut plan = Plan::new(size, ChunkRanges::empty());
    plan.want(None);
    plan
}

fn next(plan: &mut Plan, provider: EndpointId, front: u64, chunks_max: u64) -> Option<(PartId, Range<u64>)> {
    plan.next(provider, &ChunkRanges::all(), front, chunks_max).map(|next| (next.id, next.chunks))
}

#[test]
fn a_blob_is_cut_into_parts_that_cover_it_once() {
    for size in [0, 1, 16 * 1024, 16 * 1024 + 1, 5 * MIB + 7] {
        let mut plan = plan(size);
        let mut at = 0;
        while let Some((id, chunks)) = next(&mut plan, A, 0, 1024) {
            assert_eq!(chunks.start, at, "{size}");
            assert!(chunks.end - chunks.start <= 1024 && chunks.end % GROUP_CHUNKS == 0);
            at = chunks.end;
            plan.came(id, (chunks.end - chunks.start) * 1024);
            plan.ended(id, true);
        }
        assert!(plan.is_done() && plan.is_complete() && plan.parts.is_empty(), "{size}");
        assert_eq!(plan.have_bytes(), size);
    }
}

#[test]
fn what_a_reader_waits_for_comes_first_and_the_beginning_after_it() {
    let mut plan = plan(4 * MIB);
    assert_eq!(next(&mut plan, A, 3 * MIB + 5, 2048).unwrap().1, 3072..4096);
    assert_eq!(next(&mut plan, A, 3 * MIB + 5, 2048).unwrap().1, 0..2048);
}

#[test]
fn only_what_is_wanted_is_asked_for() {
    let mut plan = Plan::new(100 * MIB, ChunkRanges::empty());
    plan.want(Some(vec![10 * MIB + 1..10 * MIB + 2, 100 * MIB - 1..200 * MIB]));
    let (one, chunks) = next(&mut plan, A, 0, 1024).unwrap();
    assert_eq!(chunks, 10 * 1024..10 * 1024 + 16);
    let (two, chunks) = next(&mut plan, A, 0, 1024).unwrap();
    assert_eq!(chunks, 100 * 1024 - 16..100 * 1024);
    assert_eq!(next(&mut plan, A, 0, 1024), None);
    plan.ended(one, true);
    plan.ended(two, true);
    assert!(plan.is_done() && !plan.is_complete());
}

#[test]
fn a_provider_is_asked_only_for_what_it_has() {
    let mut plan = plan(MIB);
    let has = set(512..768);
    assert_eq!(plan.next(A, &has, 0, 1024).unwrap().chunks, 512..768);
    assert!(plan.next(A, &has, 0, 1024).is_none());
    assert!(plan.next(A, &ChunkRanges::empty(), 0, 1024).is_none());
}

#[test]
fn a_part_that_broke_off_is_asked_for_again() {
    let mut plan = plan(MIB);
    let (id, chunks) = next(&mut plan, A, 0, 1024).unwrap();
    plan.came(id, 100 * 1024);
    plan.ended(id, false);
    // The store says what of it has been kept.
    plan.have(&set(0..96));
    assert_eq!(next(&mut plan, A, 0, 1024).unwrap().1, 96..chunks.end);
}

#[test]
fn an_idle_provider_takes_over_the_second_half_of_a_slow_part() {
    let mut plan = plan(4 * MIB);
    let slow = plan.next(A, &ChunkRanges::all(), 0, 4096).unwrap();
    plan.came(slow.id, MIB);
    assert_eq!(next(&mut plan, B, 0, 4096), None, "it may be fast");
    for _ in 0..SLOW_TICKS {
        plan.came(slow.id, MIB);
        plan.tick(99);
        plan.came(slow.id, MIB);
    }
    assert_eq!(next(&mut plan, A, 0, 4096), None, "it does not help itself");
    let (other, half) = next(&mut plan, B, 0, 4096).unwrap();
    assert_eq!(half, 2560..4096);
    assert_eq!(slow.end.load(Ordering::Relaxed), 2560, "each half comes once");
    plan.ended(other, true);
    plan.ended(slow.id, true);
    assert!(plan.is_complete());
}

#[test]
fn what_does_not_come_is_asked_of_another_and_of_one_only() {
    let mut plan = plan(MIB / 2);
    let stuck = plan.next(A, &ChunkRanges::all(), 0, 4096).unwrap();
    plan.came(stuck.id, 100 * 1024);
    plan.tick(99);
    assert_eq!(next(&mut plan, B, 0, 4096), None);
    assert_eq!(plan.tick(2), [(stuck.id, A)]);
    let (other, rest) = next(&mut plan, B, 0, 4096).unwrap();
    assert_eq!(rest, 96..512);
    assert_eq!(next(&mut plan, C, 0, 4096), None);
    plan.ended(other, true);
    plan.came(stuck.id, 101 * 1024);
    assert_eq!(stuck.end.load(Ordering::Relaxed), 101, "the rest is here");
}

#[test]
fn a_part_that_waits_for_this_node_is_neither_slow_nor_stalled() {
    let mut plan = plan(MIB);
    let held = plan.next(A, &ChunkRanges::all(), 0, 4096).unwrap();
    held.held.store(true, Ordering::Relaxed);
    for _ in 0..20 {
        assert_eq!(plan.tick(2), []);
    }
    assert!(plan.again(B, &ChunkRanges::all()).is_none());
    held.held.store(false, Ordering::Relaxed);
    plan.tick(99);
    assert_eq!(plan.tick(2), [(held.id, A)]);
    assert_eq!(plan.again(B, &ChunkRanges::all()).unwrap().chunks, 0..1024);
}

#[test]
fn random_losses_never_leave_a_hole() {
    for seed in 0..200_u64 {
        let mut state = seed * 2 + 1;
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut plan = plan(random(3 * MIB));
        let mut asked = Vec::new();
        for step in 0.. {
            assert!(step < 100_000, "seed {seed} does not end: {plan:?}");
            if plan.is_done() {
                break;
            }
            match random(5) {
                0 | 1 => {
                    let provider = [A, B, C][random(3) as usize];
                    let next = next(&mut plan, provider, random(3 * MIB), 1 + random(700));
                    asked.extend(next.map(|(id, _)| id));
                }
                2 => drop(plan.tick(99)),
                _ if !asked.is_empty() => {
                    let id = asked.swap_remove(random(asked.len() as u64) as usize);
                    plan.came(id, random(MIB));
                    plan.ended(id, random(3) > 0);
                }
                _ => {}
            }
        }
        assert!(plan.here.is_superset(&plan.wanted), "seed {seed}");
    }
}
