//! Records in a SQL database (SQLite, PostgreSQL, MySQL or MariaDB): one table, a row per record. The database gives
//! what the room asks of a back end: a statement is durable before it returns, and a change names the version that it
//! replaces, so that of two writers one wins and the other learns of it.
//!
//! A second table counts the writes of each kind, in the transactions of the writes themselves: who reads the count and
//! then the records has seen at least what it counts, and one query tells that a kind is as it was.

use anello_base::{HybridClock, SystemClock, Timestamp};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use sqlx::any::{AnyArguments, AnyPoolOptions, AnyRow};
use sqlx::{AnyPool, Row};

use super::{Copied, Expect, Kind, Records, State, Version, etag};
use crate::error::{Error, Result};
use crate::limits::{
    COPIES_PAGE_ROWS, RECORD_BYTES_MAX, RECORDS_PAGE_ROWS, SQL_CONNECTIONS_MAX, SQL_WAIT_MAX, UPDATE_ATTEMPTS_MAX,
};

/// The statements, as a database spells them. Ids are bytes everywhere: no database compares them by rules for texts.
struct Dialect {
    create: &'static str,
    /// A row for a kind in the table of counts, where there is none.
    insert_count: &'static str,
    count: &'static str,
    increase: &'static str,
    list: &'static str,
    copy: &'static str,
    get: &'static str,
    insert: &'static str,
    update: &'static str,
    delete: &'static str,
    /// Connections at the same time.
    connections: u32,
    /// What is to be said to the database once.
    prelude: Option<&'static str>,
}

const SQLITE: Dialect = Dialect {
    create: "CREATE TABLE IF NOT EXISTS identity_records (kind VARCHAR(32) NOT NULL, id BLOB NOT NULL, \
             ticks BIGINT NOT NULL, etag VARCHAR(32) NOT NULL, data BLOB NOT NULL, PRIMARY KEY (kind, id))",
    insert_count: "INSERT OR IGNORE INTO identity_writes (kind, writes) VALUES (?, 0)",
    // A file has one writer: a second connection would only find it locked.
    connections: 1,
    // A commit then costs one sync, and is durable still (`synchronous` is full unless said otherwise).
    prelude: Some("PRAGMA journal_mode = WAL"),
    ..MYSQL
};

const MYSQL: Dialect = Dialect {
    create: "CREATE TABLE IF NOT EXISTS identity_records (kind VARCHAR(32) NOT NULL, id VARBINARY(1024) NOT NULL, \
             ticks BIGINT NOT NULL, etag VARCHAR(32) NOT NULL, data MEDIUMBLOB NOT NULL, PRIMARY KEY (kind, id))",
    insert_count: "INSERT IGNORE INTO identity_writes (kind, writes) VALUES (?, 0)",
    count: "SELECT writes FROM identity_writes WHERE kind = ?",
    increase: "UPDATE identity_writes SET writes = writes + 1 WHERE kind = ?",
    list: "SELECT id, ticks, etag FROM identity_records WHERE kind = ? AND id > ? ORDER BY id LIMIT ?",
    copy: "SELECT id, ticks, etag, data FROM identity_records WHERE kind = ? AND id > ? ORDER BY id LIMIT ?",
    get: "SELECT ticks, etag, data FROM identity_records WHERE kind = ? AND id = ?",
    insert: "INSERT INTO identity_records (ticks, etag, data, kind, id) VALUES (?, ?, ?, ?, ?)",
    update: "UPDATE identity_records SET ticks = ?, etag = ?, data = ? WHERE kind = ? AND id = ? AND ticks = ?",
    delete: "DELETE FROM identity_records WHERE kind = ? AND id = ? AND ticks = ?",
    connections: SQL_CONNECTIONS_MAX,
    prelude: None,
};

const POSTGRES: Dialect = Dialect {
    create: "CREATE TABLE IF NOT EXISTS identity_records (kind VARCHAR(32) NOT NULL, id BYTEA NOT NULL, \
             ticks BIGINT NOT NULL, etag VARCHAR(32) NOT NULL, data BYTEA NOT NULL, PRIMARY KEY (kind, id))",
    insert_count: "INSERT INTO identity_writes (kind, writes) VALUES ($1, 0) ON CONFLICT DO NOTHING",
    count: "SELECT writes FROM identity_writes WHERE kind = $1",
    increase: "UPDATE identity_writes SET writes = writes + 1 WHERE kind = $1",
    list: "SELECT id, ticks, etag FROM identity_records WHERE kind = $1 AND id > $2 ORDER BY id LIMIT $3",
    copy: "SELECT id, ticks, etag, data FROM identity_records WHERE kind = $1 AND id > $2 ORDER BY id LIMIT $3",
    get: "SELECT ticks, etag, data FROM identity_records WHERE kind = $1 AND id = $2",
    insert: "INSERT INTO identity_records (ticks, etag, data, kind, id) VALUES ($1, $2, $3, $4, $5)",
    update: "UPDATE identity_records SET ticks = $1, etag = $2, data = $3 WHERE kind = $4 AND id = $5 AND ticks = $6",
    delete: "DELETE FROM identity_records WHERE kind = $1 AND id = $2 AND ticks = $3",
    connections: SQL_CONNECTIONS_MAX,
    prelude: None,
};

/// How often each kind was written. The same in all databases.
const CREATE_COUNTS: &str =
    "CREATE TABLE IF NOT EXISTS identity_writes (kind VARCHAR(32) NOT NULL PRIMARY KEY, writes BIGINT NOT NULL)";

/// SQLSTATEs of a transaction that was given up in favour of another: it is tried again.
const GIVEN_UP: [&str; 2] = ["40001", "40P01"];

/// Records in a database.
pub struct SqlRecords {
    pool: AnyPool,
    dialect: &'static Dialect,
    clock: HybridClock,
}

impl SqlRecords {
    /// Connects to `sqlite:///path/to/file?mode=rwc`, `postgres://user:password@host/database` or `mysql://…`.
    pub async fn connect(url: &str) -> Result<Self> {
        let dialect = match url.split(':').next() {
            Some("sqlite") => &SQLITE,
            Some("postgres" | "postgresql") => &POSTGRES,
            Some("mysql" | "mariadb") => &MYSQL,
            // The address may bear a password: it is not repeated.
            _ => return Err(Error::Invalid("the database is none of sqlite:, postgres: and mysql:".to_owned())),
        };
        sqlx::any::install_default_drivers();
        let options = AnyPoolOptions::new().max_connections(dialect.connections).acquire_timeout(SQL_WAIT_MAX);
        let pool = options.connect(url).await.map_err(failed)?;
        Ok(Self { pool, dialect, clock: HybridClock::new(SystemClock) })
    }

    /// What is there: version and data.
    async fn read(&self, kind: Kind, id: &str) -> Result<Option<(i64, Version, Bytes)>> {
        let query = sqlx::query(self.dialect.get).bind(kind.container()).bind(id.as_bytes().to_vec());
        let Some(row) = query.fetch_optional(&self.pool).await.map_err(failed)? else { return Ok(None) };
        let (ticks, version) = version(&row)?;
        let data: Vec<u8> = row.try_get("data").map_err(failed)?;
        Ok(Some((ticks, version, data.into())))
    }

    /// Writes over what was read, or where nothing was; `None` where another was faster.
    async fn write(&self, kind: Kind, id: &str, data: &Bytes, over: Option<i64>) -> Result<Option<Version>> {
        // Later than what it replaces, whatever the clock of the host that wrote that.
        let after = over.map_or(0, |ticks| ticks + 1);
        let ticks = i64::try_from(self.clock.tick().ticks()).unwrap_or(i64::MAX).max(after);
        let etag = etag(data);
        let sql = if over.is_some() { self.dialect.update } else { self.dialect.insert };
        let mut query = sqlx::query(sql).bind(ticks).bind(etag.clone()).bind(data.to_vec());
        query = query.bind(kind.container()).bind(id.as_bytes().to_vec());
        if let Some(over) = over {
            query = query.bind(over);
        }
        let is_written = self.change(kind, query).await?;
        Ok(is_written.then(|| Version { timestamp: timestamp(ticks), etag }))
    }

    /// Changes one row and counts the change, both or neither; whether there was such a row. Dropped half-way, neither.
    async fn change(&self, kind: Kind, query: sqlx::query::Query<'_, sqlx::Any, AnyArguments>) -> Result<bool> {
        let changed = async {
            let mut transaction = self.pool.begin().await?;
            if query.execute(&mut *transaction).await?.rows_affected() == 0 {
                return Ok(false);
            }
            // Last, since others wait for the row until the end of the transaction.
            let count = sqlx::query(self.dialect.increase).bind(kind.container());
            if count.execute(&mut *transaction).await?.rows_affected() == 0 {
                return Err(sqlx::Error::RowNotFound);
            }
            transaction.commit().await?;
            Ok(true)
        };
        match changed.await {
            Err(sqlx::Error::Database(error))
                if error.is_unique_violation() || error.code().is_some_and(|code| GIVEN_UP.contains(&&*code)) =>
            {
                Ok(false)
            }
            changed => changed.map_err(failed),
        }
    }
}

fn failed(error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) => {
            tracing::warn!(%error, "the database does not answer");
            Error::Busy
        }
        error => Error::Internal(format!("the database: {error}")),
    }
}

fn timestamp(ticks: i64) -> Timestamp {
    Timestamp::from_ticks(u64::try_from(ticks).unwrap_or(0))
}

fn version(row: &AnyRow) -> Result<(i64, Version)> {
    let ticks: i64 = row.try_get("ticks").map_err(failed)?;
    let etag: String = row.try_get("etag").map_err(failed)?;
    Ok((ticks, Version { timestamp: timestamp(ticks), etag }))
}

fn id(kind: Kind, row: &AnyRow) -> Result<String> {
    let id: Vec<u8> = row.try_get("id").map_err(failed)?;
    String::from_utf8(id).map_err(|_| {
        let why = "its id is no text".to_owned();
        Error::Corrupt { kind: kind.container(), id: String::new(), why }
    })
}

fn holds(expect: Expect<'_>, found: Option<&Version>) -> bool {
    match expect {
        Expect::Anything => true,
        Expect::Absent => found.is_none(),
        Expect::Etag(etag) => found.is_some_and(|found| found.etag == etag),
    }
}

impl Records for SqlRecords {
    fn prepare(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            if let Some(prelude) = self.dialect.prelude {
                sqlx::query(prelude).fetch_all(&self.pool).await.map_err(failed)?;
            }
            for table in [self.dialect.create, CREATE_COUNTS] {
                sqlx::query(table).execute(&self.pool).await.map_err(failed)?;
            }
            for kind in Kind::ALL {
                let row = sqlx::query(self.dialect.insert_count).bind(kind.container());
                row.execute(&self.pool).await.map_err(failed)?;
            }
            Ok(())
        })
    }

    fn versions(&self, kind: Kind) -> BoxFuture<'_, Result<Vec<(String, Version)>>> {
        Box::pin(async move {
            let mut versions: Vec<(String, Version)> = Vec::new();
            loop {
                let marker = versions.last().map_or(Vec::new(), |(id, _)| id.as_bytes().to_vec());
                let query = sqlx::query(self.dialect.list).bind(kind.container()).bind(marker);
                let query = query.bind(RECORDS_PAGE_ROWS as i64);
                let rows = query.fetch_all(&self.pool).await.map_err(failed)?;
                for row in &rows {
                    versions.push((id(kind, row)?, version(row)?.1));
                }
                if rows.len() < RECORDS_PAGE_ROWS {
                    return Ok(versions);
                }
            }
        })
    }

    fn get<'a>(&'a self, kind: Kind, id: &'a str) -> BoxFuture<'a, Result<Option<(Version, Bytes)>>> {
        Box::pin(async move { Ok(self.read(kind, id).await?.map(|(_, version, data)| (version, data))) })
    }

    fn put<'a>(&'a self, kind: Kind, id: &'a str, data: Bytes, expect: Expect<'a>) -> BoxFuture<'a, Result<Version>> {
        Box::pin(async move {
            if data.len() > RECORD_BYTES_MAX {
                return Err(Error::Invalid(format!("The record is longer than {RECORD_BYTES_MAX} bytes.")));
            }
            for _ in 0..UPDATE_ATTEMPTS_MAX {
                let found = self.read(kind, id).await?;
                if !holds(expect, found.as_ref().map(|(_, version, _)| version)) {
                    return Err(Error::Changed);
                }
                if let Some(version) = self.write(kind, id, &data, found.map(|(ticks, _, _)| ticks)).await? {
                    return Ok(version);
                }
            }
            Err(Error::Busy)
        })
    }

    fn delete<'a>(&'a self, kind: Kind, id: &'a str, expect: Expect<'a>) -> BoxFuture<'a, Result<Option<Timestamp>>> {
        Box::pin(async move {
            for _ in 0..UPDATE_ATTEMPTS_MAX {
                let found = self.read(kind, id).await?;
                if !holds(expect, found.as_ref().map(|(_, version, _)| version)) {
                    return Err(Error::Changed);
                }
                let Some((ticks, version, _)) = found else { return Ok(None) };
                let query = sqlx::query(self.dialect.delete).bind(kind.container()).bind(id.as_bytes().to_vec());
                if self.change(kind, query.bind(ticks)).await? {
                    return Ok(Some(version.timestamp));
                }
            }
            Err(Error::Busy)
        })
    }

    fn state(&self, kind: Kind) -> BoxFuture<'_, Result<Option<State>>> {
        Box::pin(async move {
            let query = sqlx::query(self.dialect.count).bind(kind.container());
            let row = query.fetch_one(&self.pool).await.map_err(failed)?;
            let writes: i64 = row.try_get("writes").map_err(failed)?;
            Ok(Some(State::Writes(u64::try_from(writes).unwrap_or(0))))
        })
    }

    fn copies(&self, kind: Kind) -> BoxStream<'_, Result<Vec<Copied>>> {
        let pages = stream::try_unfold(Some(Vec::new()), move |marker: Option<Vec<u8>>| async move {
            let Some(marker) = marker else { return Ok(None) };
            let query = sqlx::query(self.dialect.copy).bind(kind.container()).bind(marker);
            let rows = query.bind(COPIES_PAGE_ROWS as i64).fetch_all(&self.pool).await.map_err(failed)?;
            let mut copies = Vec::with_capacity(rows.len());
            for row in &rows {
                let data: Vec<u8> = row.try_get("data").map_err(failed)?;
                copies.push(Copied { id: id(kind, row)?, version: version(row)?.1, data: data.into() });
            }
            let last = copies.last().filter(|_| copies.len() >= COPIES_PAGE_ROWS);
            let next = last.map(|copy| copy.id.as_bytes().to_vec());
            Ok(Some((copies, next)))
        });
        pages.boxed()
    }
}
