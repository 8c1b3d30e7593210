//! The format of the file and the way from an older one to this one.
//!
//! The number in `meta_v1` says which migrations a file has had. Each is done in one transaction together
//! with its number, so one that was interrupted is done again from its start. A file of format 0 is
//! one without tables: it was just created.

use ::redb::{Database, Error, ReadableDatabase, ReadableTable, TableError, WriteTransaction};

use super::tables::{CHANGES, CHUNKS, COLLECTIONS, DOCUMENTS, JSON, META};

const FORMAT_KEY: &str = "format";
const STORE_KEY: &str = "store";
const MARK_KEY: &str = "mark";

/// The format this program reads and writes.
pub(super) const FORMAT: u32 = 2;

struct Migration {
    to: u32,
    what: &'static str,
    run: fn(&WriteTransaction) -> Result<(), Error>,
}

const MIGRATIONS: &[Migration] = &[
    Migration { to: 1, what: "create the tables", run: create_tables },
    Migration { to: 2, what: "number the store, so that its log can name it", run: number_store },
];

const _: () = assert!(MIGRATIONS[MIGRATIONS.len() - 1].to == FORMAT);

/// Does what the file has not had yet.
pub(super) fn run(database: &Database) -> Result<(), Error> {
    let found = format(database)?.unwrap_or_default();
    for migration in MIGRATIONS.iter().filter(|migration| migration.to > found) {
        let transaction = database.begin_write()?;
        (migration.run)(&transaction)?;
        set_format(&transaction, migration.to)?;
        transaction.commit()?;
        tracing::info!(format = migration.to, "store: {}", migration.what);
    }
    Ok(())
}

/// The format of a file; `None` when it has none, as when another program made it.
pub(super) fn format(database: &Database) -> Result<Option<u32>, Error> {
    let transaction = database.begin_read()?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(value) = meta.get(FORMAT_KEY)? else {
        return Ok(None);
    };
    let bytes = <[u8; 4]>::try_from(value.value())
        .map_err(|_| Error::Corrupted("table meta_v1, key \"format\" is not a number".to_owned()))?;
    Ok(Some(u32::from_le_bytes(bytes)))
}

/// Touches every table of this format, so that a file that lost one is refused when it is opened.
pub(super) fn check_tables(database: &Database) -> Result<(), Error> {
    let transaction = database.begin_read()?;
    for table in [DOCUMENTS, JSON] {
        transaction.open_table(table)?.last()?;
    }
    transaction.open_table(CHUNKS)?.last()?;
    transaction.open_table(CHANGES)?.last()?;
    transaction.open_table(COLLECTIONS)?.last()?;
    Ok(())
}

fn create_tables(transaction: &WriteTransaction) -> Result<(), Error> {
    transaction.open_table(DOCUMENTS)?;
    transaction.open_table(JSON)?;
    transaction.open_table(CHUNKS)?;
    transaction.open_table(CHANGES)?;
    transaction.open_table(COLLECTIONS)?;
    Ok(())
}

fn number_store(transaction: &WriteTransaction) -> Result<(), Error> {
    set_number(transaction, STORE_KEY, rand::random())
}

fn set_number(transaction: &WriteTransaction, key: &str, number: u64) -> Result<(), Error> {
    transaction.open_table(META)?.insert(key, number.to_le_bytes().as_slice())?;
    Ok(())
}

fn number(database: &Database, key: &str) -> Result<Option<u64>, Error> {
    let meta = database.begin_read()?.open_table(META)?;
    let Some(value) = meta.get(key)? else { return Ok(None) };
    let bytes = <[u8; 8]>::try_from(value.value())
        .map_err(|_| Error::Corrupted(format!("table meta_v1, key {key:?} is not a number")))?;
    Ok(Some(u64::from_le_bytes(bytes)))
}

/// Gives the store another number, with which no log goes that there was before.
pub(super) fn number_store_anew(database: &Database) -> Result<(), Error> {
    let transaction = database.begin_write()?;
    number_store(&transaction)?;
    transaction.commit()?;
    Ok(())
}

/// The number of the store, which is made with it and which its log names.
pub(super) fn store_number(database: &Database) -> Result<u64, Error> {
    let missing = || Error::Corrupted(format!("table meta_v1, key {STORE_KEY:?} is not there"));
    number(database, STORE_KEY)?.ok_or_else(missing)
}

/// The mark that was left last, or 0.
pub(super) fn mark(database: &Database) -> Result<u64, Error> {
    Ok(number(database, MARK_KEY)?.unwrap_or(0))
}

/// Leaves a mark.
pub(super) fn set_mark(database: &Database, mark: u64) -> Result<(), Error> {
    let transaction = database.begin_write()?;
    set_number(&transaction, MARK_KEY, mark)?;
    transaction.commit()?;
    Ok(())
}

/// Writes the number of the format.
pub(super) fn set_format(transaction: &WriteTransaction, format: u32) -> Result<(), Error> {
    transaction.open_table(META)?.insert(FORMAT_KEY, format.to_le_bytes().as_slice())?;
    Ok(())
}
