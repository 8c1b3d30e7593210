//! Lists: the elements that are there and the elements that should be, in; insertions, deletions and
//! changes within elements, out.
//!
//! Equal elements stay. What lies between two of them was replaced: there, elements that have most in
//! common are paired and changed in place, so that what others change in them at the same time
//! survives; the rest is deleted or inserted. Only the number of elements decides how hard this looks
//! for a small difference, never time, so every run makes the same operations.

use std::collections::HashMap;
use std::ops::Range;

use automerge::transaction::{Transactable, Transaction};
use automerge::{AutomergeError, ObjId};
use similar::{Algorithm, DiffOp};

use super::value::Content;
use super::view::Node;
use super::{edit, json};

/// Above this product of lengths, a stretch of a list is replaced element by element in order.
const DIFF_CELLS_MAX: usize = 16 * 1024 * 1024;
/// Above this product of lengths, replaced elements are paired in order instead of by likeness.
const PAIR_CELLS_MAX: usize = 4096;

/// One step of the way from the old list to the new one, in order. `at` is an index into the old list.
#[derive(Debug, PartialEq)]
enum Step {
    Change { at: usize, want: usize },
    Delete { at: usize },
    Insert { at: usize, want: Range<usize> },
}

/// Makes a list equal to the wanted elements.
pub(super) fn edit(
    tx: &mut Transaction<'_>,
    id: &ObjId,
    have: &[Node],
    want: &[Content],
) -> Result<(), AutomergeError> {
    let steps = steps(have, want);
    // From the end to the start, so that indexes into the old list stay right.
    for step in steps.iter().rev() {
        match step {
            Step::Change { at, want: index } => {
                let content = &want[*index];
                if !edit::in_place(tx, id, *at, &have[*at], content)? {
                    edit::create(tx, id, *at, content)?;
                }
            }
            Step::Delete { at } => tx.delete(id, *at)?,
            Step::Insert { at, want: range } => {
                let values = want[range.clone()].iter().map(Content::to_automerge);
                tx.splice(id, *at, 0, values)?;
            }
        }
    }
    Ok(())
}

fn steps(have: &[Node], want: &[Content]) -> Vec<Step> {
    let mut steps = Vec::new();
    for (old, new) in gaps(have, want) {
        pair(&have[old.clone()], &want[new.clone()], old.start, new.start, &mut steps);
    }
    steps
}

/// The stretches that differ, in order: which old elements became which new ones.
fn gaps(have: &[Node], want: &[Content]) -> Vec<(Range<usize>, Range<usize>)> {
    let prefix = have.iter().zip(want).take_while(|(have, want)| have.is(want)).count();
    let (old, new) = (&have[prefix..], &want[prefix..]);
    let suffix = old.iter().rev().zip(new.iter().rev()).take_while(|(have, want)| have.is(want)).count();
    let (old, new) = (&old[..old.len() - suffix], &new[..new.len() - suffix]);
    if old.is_empty() && new.is_empty() {
        return Vec::new();
    }
    let whole = (prefix..prefix + old.len(), prefix..prefix + new.len());
    if old.is_empty() || new.is_empty() || old.len().saturating_mul(new.len()) > DIFF_CELLS_MAX {
        return vec![whole];
    }

    // Elements are compared through their JSON, each written once and then known by a number.
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut number = |text: String| {
        let next = numbers.len();
        *numbers.entry(text).or_insert(next)
    };
    let old: Vec<usize> = old.iter().map(|node| number(json::node(node))).collect();
    let new: Vec<usize> = new.iter().map(|content| number(json::content(content))).collect();

    let mut gaps: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    for op in similar::capture_diff_slices(Algorithm::Myers, &old, &new) {
        if matches!(op, DiffOp::Equal { .. }) {
            continue;
        }
        let (old, new) = (op.old_range(), op.new_range());
        let old = prefix + old.start..prefix + old.end;
        let new = prefix + new.start..prefix + new.end;
        match gaps.last_mut() {
            Some((last_old, last_new)) if last_old.end == old.start && last_new.end == new.start => {
                last_old.end = old.end;
                last_new.end = new.end;
            }
            _ => gaps.push((old, new)),
        }
    }
    gaps
}

/// Decides which old elements of one gap become which new ones.
fn pair(have: &[Node], want: &[Content], old_start: usize, new_start: usize, steps: &mut Vec<Step>) {
    let (mut old, mut new) = (0, 0);
    for (old_index, new_index) in pairs(have, want) {
        rest(old_start + old..old_start + old_index, new_start + new..new_start + new_index, steps);
        steps.push(Step::Change { at: old_start + old_index, want: new_start + new_index });
        (old, new) = (old_index + 1, new_index + 1);
    }
    rest(old_start + old..old_start + have.len(), new_start + new..new_start + want.len(), steps);
}

fn rest(old: Range<usize>, new: Range<usize>, steps: &mut Vec<Step>) {
    let at = old.end;
    steps.extend(old.map(|at| Step::Delete { at }));
    if !new.is_empty() {
        steps.push(Step::Insert { at, want: new });
    }
}

/// The pairs with the greatest likeness in all that keep the order, found by filling a table of the
/// best sums from the end.
fn pairs(have: &[Node], want: &[Content]) -> Vec<(usize, usize)> {
    let (rows, columns) = (have.len(), want.len());
    if rows.saturating_mul(columns) > PAIR_CELLS_MAX {
        return (0..rows.min(columns)).map(|index| (index, index)).collect();
    }
    let width = columns + 1;
    let mut like = vec![0; rows * columns];
    let mut best = vec![0; (rows + 1) * width];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            let here = likeness(&have[row], &want[column]);
            like[row * columns + column] = here;
            let mut sum = best[(row + 1) * width + column].max(best[row * width + column + 1]);
            if here > 0 {
                sum = sum.max(here + best[(row + 1) * width + column + 1]);
            }
            best[row * width + column] = sum;
        }
    }
    let mut pairs = Vec::new();
    let (mut row, mut column) = (0, 0);
    while row < rows && column < columns {
        let here = like[row * columns + column];
        let sum = best[row * width + column];
        if here > 0 && sum == here + best[(row + 1) * width + column + 1] {
            pairs.push((row, column));
            row += 1;
            column += 1;
        } else if sum == best[(row + 1) * width + column] {
            row += 1;
        } else {
            column += 1;
        }
    }
    pairs
}

/// 0: nothing in common, delete and insert. More: the more, the better to change one into the other.
fn likeness(have: &Node, want: &Content) -> usize {
    match (have, want) {
        (Node::Scalar(have), Content::Scalar(want)) => {
            usize::from(std::mem::discriminant(have) == std::mem::discriminant(want))
        }
        (Node::Text(..), Content::Text(_)) => 1,
        (Node::List(_, have), Content::List(want)) => {
            1 + 2 * have.iter().zip(want).filter(|(have, want)| have.is(want)).count()
        }
        (Node::Map(have), Content::Map(want)) => {
            let equal = have
                .fields
                .iter()
                .filter(|(key, field)| want.get(*key).is_some_and(|want| field.node.is(want)));
            1 + 2 * equal.count()
        }
        _ => 0,
    }
}
