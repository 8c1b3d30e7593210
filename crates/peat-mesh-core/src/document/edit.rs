//! Writing: what a reader sees and what it should become in, the fewest operations out.
//!
//! Where a key has values in several merged maps, a new value goes to the map that has the value that
//! won; it gets a higher operation id than all that is there and so wins everywhere. A new key goes
//! to the map that Automerge shows. A removed key is removed from every map that has it.

use std::collections::BTreeMap;

use automerge::transaction::{Transactable, Transaction};
use automerge::{AutomergeError, ObjId, Prop};
use similar::{Algorithm, DiffOp};

use super::list;
use super::value::{Content, Scalar};
use super::view::{MapNode, Node};

/// Above this product of lengths a changed stretch of text is compared with shortcuts that may find more
/// than the smallest difference, but in a time that does not explode.
const TEXT_DIFF_CELLS_MAX: usize = 4 * 1024 * 1024;

/// Makes a map equal to the wanted fields.
pub(super) fn map(
    tx: &mut Transaction<'_>,
    have: &MapNode,
    want: &BTreeMap<String, Content>,
) -> Result<(), AutomergeError> {
    for (key, field) in &have.fields {
        if !want.contains_key(key) {
            tx.delete(&have.ids[field.home], key.as_str())?;
            for other in &field.also {
                tx.delete(&have.ids[*other], key.as_str())?;
            }
        }
    }
    for (key, content) in want {
        let Some(field) = have.fields.get(key) else {
            let shown = &have.ids[have.ids.len() - 1];
            create(tx, shown, key.as_str(), content)?;
            continue;
        };
        let home = &have.ids[field.home];
        if in_place(tx, home, key.as_str(), &field.node, content)? {
            continue;
        }
        if matches!(content, Content::Map(_)) {
            // Maps that lie hidden under the old value elsewhere would be read as part of the new one.
            for other in &field.also {
                tx.delete(&have.ids[*other], key.as_str())?;
            }
        }
        create(tx, home, key.as_str(), content)?;
    }
    Ok(())
}

/// Changes a value without replacing it. False when it has to be replaced, because the type changes or
/// it has no parts.
pub(super) fn in_place(
    tx: &mut Transaction<'_>,
    parent: &ObjId,
    prop: impl Into<Prop>,
    have: &Node,
    want: &Content,
) -> Result<bool, AutomergeError> {
    match (have, want) {
        (Node::Map(have), Content::Map(want)) => map(tx, have, want)?,
        (Node::List(id, have), Content::List(want)) => list::edit(tx, id, have, want)?,
        (Node::Text(id, have), Content::Text(want)) => text(tx, id, have, want)?,
        (Node::Scalar(Scalar::Counter(have)), Content::Scalar(Scalar::Counter(want))) => {
            match want.checked_sub(*have) {
                Some(0) => {}
                Some(difference) => tx.increment(parent, prop, difference)?,
                None => return Ok(false),
            }
        }
        (Node::Scalar(have), Content::Scalar(want)) => return Ok(have == want),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Puts a value under a key or over an element, with all that is in it.
pub(super) fn create(
    tx: &mut Transaction<'_>,
    parent: &ObjId,
    prop: impl Into<Prop>,
    content: &Content,
) -> Result<(), AutomergeError> {
    match content {
        Content::Scalar(scalar) => tx.put(parent, prop, scalar.to_automerge()),
        _ => tx.batch_create_object(parent, prop, &content.to_automerge(), false).map(drop),
    }
}

fn text(tx: &mut Transaction<'_>, id: &ObjId, have: &str, want: &str) -> Result<(), AutomergeError> {
    if have == want {
        return Ok(());
    }
    let (have, want): (Vec<char>, Vec<char>) = (have.chars().collect(), want.chars().collect());
    let prefix = common(have.iter(), want.iter());
    let (old, new) = (&have[prefix..], &want[prefix..]);
    let suffix = common(old.iter().rev(), new.iter().rev());
    let (old, new) = (&old[..old.len() - suffix], &new[..new.len() - suffix]);
    if old.len().saturating_mul(new.len()) <= TEXT_DIFF_CELLS_MAX {
        // Keeps what a reader takes for one character in one piece.
        return tx.update_text(id, want.iter().collect::<String>());
    }
    for op in similar::capture_diff_slices(Algorithm::Myers, old, new).iter().rev() {
        if !matches!(op, DiffOp::Equal { .. }) {
            let (gone, come) = (op.old_range(), op.new_range());
            let come: String = new[come].iter().collect();
            tx.splice_text(id, prefix + gone.start, gone.len().cast_signed(), &come)?;
        }
    }
    Ok(())
}

fn common<'a>(one: impl Iterator<Item = &'a char>, other: impl Iterator<Item = &'a char>) -> usize {
    one.zip(other).take_while(|(one, other)| one == other).count()
}
