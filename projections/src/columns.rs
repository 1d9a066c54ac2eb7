//! How columns become values, and values columns.
//!
//! The aggregates know nothing of a database, so ids and instants are translated here, once.

use docket_aggregates::Timestamp;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgRow, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Row, Type};
use uuid::Uuid;

/// Milliseconds from 1970-01-01 to 2000-01-01, where Postgres begins to count.
const POSTGRES_EPOCH: i64 = 946_684_800_000;
/// The fixed type numbers of `timestamptz` and of its array.
const TIMESTAMPTZ: Oid = Oid(1184);
const TIMESTAMPTZ_ARRAY: Oid = Oid(1185);

/// A `timestamptz`, to the millisecond.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At(pub Timestamp);

/// Microseconds since 2000, as Postgres stores an instant.
pub(crate) fn microseconds(at: Timestamp) -> i64 {
    (at.millis() - POSTGRES_EPOCH) * 1_000
}

impl Type<Postgres> for At {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ)
    }
}

impl PgHasArrayType for At {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ_ARRAY)
    }
}

impl Encode<'_, Postgres> for At {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode_by_ref(&microseconds(self.0), buffer)
    }
}

impl Decode<'_, Postgres> for At {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        if value.format() != PgValueFormat::Binary {
            return Err("an instant is read in binary form only".into());
        }
        let since_2000: i64 = Decode::<Postgres>::decode(value)?;
        Ok(Self(Timestamp::from_millis(since_2000.div_euclid(1_000) + POSTGRES_EPOCH)))
    }
}

/// Reads the columns of a row as the values they stand for.
pub(crate) trait Columns {
    fn id<T: From<Uuid>>(&self, column: &str) -> sqlx::Result<T>;
    fn id_opt<T: From<Uuid>>(&self, column: &str) -> sqlx::Result<Option<T>>;
    fn at(&self, column: &str) -> sqlx::Result<Timestamp>;
    fn at_opt(&self, column: &str) -> sqlx::Result<Option<Timestamp>>;
    /// A count, which is never negative.
    fn count(&self, column: &str) -> sqlx::Result<u64>;
    fn ids<T: From<Uuid>>(&self, column: &str) -> sqlx::Result<Vec<T>>;
    /// A name that one of our enums was stored under.
    fn named<T: std::str::FromStr>(&self, column: &str) -> sqlx::Result<T>;
}

impl Columns for PgRow {
    fn id<T: From<Uuid>>(&self, column: &str) -> sqlx::Result<T> {
        self.try_get::<Uuid, _>(column).map(T::from)
    }

    fn id_opt<T: From<Uuid>>(&self, column: &str) -> sqlx::Result<Option<T>> {
        Ok(self.try_get::<Option<Uuid>, _>(column)?.map(T::from))
    }

    fn at(&self, column: &str) -> sqlx::Result<Timestamp> {
        self.try_get::<At, _>(column).map(|at| at.0)
    }

    fn at_opt(&self, column: &str) -> sqlx::Result<Option<Timestamp>> {
        Ok(self.try_get::<Option<At>, _>(column)?.map(|at| at.0))
    }

    fn count(&self, column: &str) -> sqlx::Result<u64> {
        Ok(self.try_get::<Option<i64>, _>(column)?.unwrap_or(0).max(0).cast_unsigned())
    }

    fn ids<T: From<Uuid>>(&self, column: &str) -> sqlx::Result<Vec<T>> {
        Ok(self.try_get::<Vec<Uuid>, _>(column)?.into_iter().map(T::from).collect())
    }

    fn named<T: std::str::FromStr>(&self, column: &str) -> sqlx::Result<T> {
        let name: &str = self.try_get(column)?;
        name.parse().map_err(|_| unreadable(column))
    }
}

/// A column holds something that this version never writes there.
pub(crate) fn unreadable(column: &str) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: "holds an unknown value".into() }
}

/// The bare UUIDs of ids, as Postgres takes them.
pub(crate) fn uuids<T: Copy + Into<Uuid>>(ids: &[T]) -> Vec<Uuid> {
    ids.iter().map(|id| (*id).into()).collect()
}

/// A number of the ledger as Postgres takes it; the ledger's numbers are below 2^53.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
