//! Texts: the characters that are there and those that should be, in; insertions and deletions out.
//!
//! How hard this looks for a small difference depends on the lengths only, never on time, so every run
//! makes the same operations.

use std::collections::HashMap;
use std::ops::Range;

use automerge::transaction::{Transactable, Transaction};
use automerge::{AutomergeError, ObjId};
use similar::{Algorithm, DiffOp};

/// Up to this product of lengths, a changed stretch is compared by what a reader takes for one character.
const DIFF_CELLS_MAX: usize = 4 * 1024 * 1024;
/// Up to this sum of lengths, it is compared by code points, above by lines.
const DIFF_CHARS_MAX: usize = 256 * 1024;
/// A text from which more than this goes at once is replaced by a new one: Automerge needs the longer for
/// each deletion the more there are (100,000 of them can take many seconds).
const DELETED_CHARS_MAX: usize = 16 * 1024;

/// Makes a text equal to what is wanted. False, and nothing is changed, when it had better be replaced.
pub(super) fn edit(
    tx: &mut Transaction<'_>,
    id: &ObjId,
    have: &str,
    want: &str,
) -> Result<bool, AutomergeError> {
    if have == want {
        return Ok(true);
    }
    let (old, new): (Vec<char>, Vec<char>) = (have.chars().collect(), want.chars().collect());
    let prefix = common(old.iter(), new.iter());
    let (old, new) = (&old[prefix..], &new[prefix..]);
    let suffix = common(old.iter().rev(), new.iter().rev());
    let (old, new) = (&old[..old.len() - suffix], &new[..new.len() - suffix]);

    if old.len() <= DELETED_CHARS_MAX && old.len().saturating_mul(new.len()) <= DIFF_CELLS_MAX {
        tx.update_text(id, want)?;
        return Ok(true);
    }
    let gaps = gaps(old, new);
    if gaps.iter().map(|(gone, _)| gone.len()).sum::<usize>() > DELETED_CHARS_MAX {
        return Ok(false);
    }
    for (gone, come) in gaps.into_iter().rev() {
        let come: String = new[come].iter().collect();
        tx.splice_text(id, prefix + gone.start, gone.len().cast_signed(), &come)?;
    }
    Ok(true)
}

/// The stretches that differ.
fn gaps(old: &[char], new: &[char]) -> Vec<(Range<usize>, Range<usize>)> {
    if old.len() + new.len() <= DIFF_CHARS_MAX {
        return differences(old, new);
    }
    let (old_lines, new_lines) = (lines(old), lines(new));
    if old_lines.len() + new_lines.len() > DIFF_CHARS_MAX {
        return vec![(0..old.len(), 0..new.len())];
    }
    let mut numbers: HashMap<&[char], usize> = HashMap::new();
    let mut number = |line| {
        let next = numbers.len();
        *numbers.entry(line).or_insert(next)
    };
    let old_numbers: Vec<usize> = old_lines.iter().map(|line| number(&old[line.clone()])).collect();
    let new_numbers: Vec<usize> = new_lines.iter().map(|line| number(&new[line.clone()])).collect();
    let chars = |lines: &[Range<usize>], range: Range<usize>, length: usize| {
        let start = lines.get(range.start).map_or(length, |line| line.start);
        let end = lines.get(range.end).map_or(length, |line| line.start);
        start..end
    };
    differences(&old_numbers, &new_numbers)
        .into_iter()
        .map(|(gone, come)| (chars(&old_lines, gone, old.len()), chars(&new_lines, come, new.len())))
        .collect()
}

fn differences<T: Eq + std::hash::Hash + Ord>(old: &[T], new: &[T]) -> Vec<(Range<usize>, Range<usize>)> {
    similar::capture_diff_slices(Algorithm::Myers, old, new)
        .into_iter()
        .filter(|op| !matches!(op, DiffOp::Equal { .. }))
        .map(|op| (op.old_range(), op.new_range()))
        .collect()
}

/// Where each line lies, its end included.
fn lines(text: &[char]) -> Vec<Range<usize>> {
    let mut start = 0;
    text.split_inclusive(|char| *char == '\n')
        .map(|line| {
            let range = start..start + line.len();
            start = range.end;
            range
        })
        .collect()
}

fn common<'a>(one: impl Iterator<Item = &'a char>, other: impl Iterator<Item = &'a char>) -> usize {
    one.zip(other).take_while(|(one, other)| one == other).count()
}
