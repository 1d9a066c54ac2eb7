//! Rows on their way into a table by `COPY … (FORMAT BINARY)`, the fastest way there is.

use docket_aggregates::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::columns::microseconds;

/// The signature, no flags, no header extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Bytes in one protocol message, at most about.
const MESSAGE: usize = 1 << 20;
/// The fixed type numbers of array elements.
const TEXT: u32 = 25;
const INT8: u32 = 20;

/// Rows of one table, encoded.
pub(crate) struct Copy {
    statement: String,
    fields: i16,
    rows: usize,
    buffer: Vec<u8>,
}

impl Copy {
    /// Rows of `table` with these columns, in this order.
    pub fn into(table: &str, columns: &[&str]) -> Self {
        Self {
            statement: format!("COPY {table} ({}) FROM STDIN (FORMAT BINARY)", columns.join(", ")),
            fields: i16::try_from(columns.len()).expect("no table has 32 768 columns"),
            rows: 0,
            buffer: HEADER.to_vec(),
        }
    }

    /// Begins the next row. Every column must follow, in order.
    pub fn row(&mut self) -> &mut Self {
        self.rows += 1;
        self.buffer.extend_from_slice(&self.fields.to_be_bytes());
        self
    }

    pub fn uuid(&mut self, value: impl Into<Uuid>) -> &mut Self {
        self.field(value.into().as_bytes())
    }

    pub fn uuid_opt(&mut self, value: Option<impl Into<Uuid>>) -> &mut Self {
        match value {
            Some(value) => self.uuid(value),
            None => self.null(),
        }
    }

    pub fn text(&mut self, value: &str) -> &mut Self {
        self.field(value.as_bytes())
    }

    pub fn text_opt(&mut self, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(value),
            None => self.null(),
        }
    }

    pub fn texts(&mut self, values: &[String]) -> &mut Self {
        self.array(TEXT, values, |copy, value| {
            copy.text(value);
        })
    }

    pub fn i64s(&mut self, values: &[i64]) -> &mut Self {
        self.array(INT8, values, |copy, value| {
            copy.i64(*value);
        })
    }

    fn array<T>(&mut self, element: u32, values: &[T], write: impl Fn(&mut Self, &T)) -> &mut Self {
        let start = self.open();
        let dimensions: i32 = if values.is_empty() { 0 } else { 1 };
        self.buffer.extend_from_slice(&dimensions.to_be_bytes());
        self.buffer.extend_from_slice(&0_i32.to_be_bytes()); // No null among them.
        self.buffer.extend_from_slice(&element.to_be_bytes());
        if !values.is_empty() {
            self.length(values.len());
            self.buffer.extend_from_slice(&1_i32.to_be_bytes()); // Postgres counts from 1.
            for value in values {
                write(self, value);
            }
        }
        self.close(start)
    }

    pub fn json(&mut self, value: &impl serde::Serialize) -> Result<&mut Self, serde_json::Error> {
        let start = self.open();
        self.buffer.push(1); // The version of jsonb's binary form.
        serde_json::to_writer(&mut self.buffer, value)?;
        Ok(self.close(start))
    }

    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.field(&value.to_be_bytes())
    }

    pub fn i64_opt(&mut self, value: Option<i64>) -> &mut Self {
        match value {
            Some(value) => self.i64(value),
            None => self.null(),
        }
    }

    pub fn i32(&mut self, value: i32) -> &mut Self {
        self.field(&value.to_be_bytes())
    }

    pub fn i16(&mut self, value: i16) -> &mut Self {
        self.field(&value.to_be_bytes())
    }

    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.field(&[u8::from(value)])
    }

    pub fn at(&mut self, value: Timestamp) -> &mut Self {
        self.i64(microseconds(value))
    }

    pub fn at_opt(&mut self, value: Option<Timestamp>) -> &mut Self {
        match value {
            Some(value) => self.at(value),
            None => self.null(),
        }
    }

    pub fn null(&mut self) -> &mut Self {
        self.buffer.extend_from_slice(&(-1_i32).to_be_bytes());
        self
    }

    /// Writes the rows. Without rows nothing is said to the server.
    pub async fn send(mut self, conn: &mut PgConnection) -> sqlx::Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        self.buffer.extend_from_slice(&(-1_i16).to_be_bytes());
        let mut copy = conn.copy_in_raw(&self.statement).await?;
        for message in self.buffer.chunks(MESSAGE) {
            copy.send(message).await?;
        }
        copy.finish().await.map(drop)
    }

    fn field(&mut self, bytes: &[u8]) -> &mut Self {
        self.length(bytes.len());
        self.buffer.extend_from_slice(bytes);
        self
    }

    fn length(&mut self, length: usize) {
        // A value of 2 GB cannot come out of a ledger whose events are limited to 1 MB; it would be refused by
        // the server, not cut.
        let length = i32::try_from(length).unwrap_or(i32::MAX);
        self.buffer.extend_from_slice(&length.to_be_bytes());
    }

    /// Leaves room for the length of a value that is written piece by piece.
    fn open(&mut self) -> usize {
        self.length(0);
        self.buffer.len()
    }

    fn close(&mut self, start: usize) -> &mut Self {
        let length = i32::try_from(self.buffer.len() - start).unwrap_or(i32::MAX);
        self.buffer[start - 4..start].copy_from_slice(&length.to_be_bytes());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_carries_its_length() {
        let mut copy = Copy::into("t", &["a", "b"]);
        copy.row().text("ab").texts(&["c".to_owned()]);
        assert_eq!(copy.statement, "COPY t (a, b) FROM STDIN (FORMAT BINARY)");
        let body = &copy.buffer[HEADER.len()..];
        assert_eq!(body[..2], [0, 2]);
        assert_eq!(body[2..8], [0, 0, 0, 2, b'a', b'b']);
        assert_eq!(body[8..12], [0, 0, 0, 25]);
        assert_eq!(body.len(), 12 + 25);
    }
}
