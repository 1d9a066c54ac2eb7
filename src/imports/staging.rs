//! Reading a file into its folder.
//!
//! While one chunk is being written, the next one is read and judged: one is in flight and one is in preparation,
//! whatever the size of the file.

use std::fs::File;
use std::time::Instant;

use docket_aggregates::Decides;
use docket_aggregates::ids::{CommandId, ImportId};
use docket_aggregates::import::{Import, ImportCommand, ImportEvent, ImportLabel, InvalidRow, StagedRow};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::reader::{self, ImportReader, MapOverrides, Scan, Spooled};
use super::rows::{Judged, Sheet, judge};
use super::{
    CHUNK_CHARACTERS, CHUNK_ROWS, Column, Error, ImportRefusal, Label, Progress, apart, append_patiently,
};
use crate::app::App;
use crate::clock::Clock;
use crate::ledger::{Appended, Command, Lane, Versioned};
use crate::normalise::phone;
use crate::service::{Call, Done};

/// Phone numbers that are looked at to find out of which country those without a country code are.
const NUMBERS_SAMPLED: usize = 400;
/// Rows that are read to find these numbers, at most.
const ROWS_SAMPLED: usize = 5_000;

/// Invalid rows up to which a file is read on whatever the others are like. Each is kept with its cells and a key of its
/// own, so that a file of nothing else, a line of one letter each, would take hundreds of times its size.
const INVALID_FREE: u64 = 100_000;

/// A folder whose file was read to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Staged {
    /// The folder.
    #[schemars(with = "Uuid")]
    pub import_folder_id: ImportId,
    /// Rows in the file, valid or not.
    pub rows: u64,
    /// Of these, rows that cannot become contacts.
    pub invalid: u64,
    /// What each column was taken for, in the file's order.
    pub mapping: Vec<Column>,
}

/// A file that lies on disk, and what is said of it.
#[derive(Debug)]
pub(crate) struct Upload {
    pub file: Spooled,
    pub label: Label,
    pub map: MapOverrides,
}

/// Stages a file that lies on this machine. `maps` are the values of `?map=`.
pub async fn stage_file(
    app: &App,
    call: &Call,
    file: File,
    label: Label,
    maps: &[String],
    watch: impl Fn(Progress) + Send + Sync + 'static,
) -> Result<Done<Staged>, Error> {
    let map = MapOverrides::parse(maps.iter().map(String::as_str)).map_err(ImportRefusal::from)?;
    let scanned = tokio::task::spawn_blocking(move || {
        let mut file = file;
        Scan::of(&mut file).map(|scan| Spooled { file, scan })
    });
    let read = |error| ImportRefusal::File(reader::ReadError::Io(error));
    let file = scanned.await.map_err(|stopped| read(std::io::Error::other(stopped)))?.map_err(read)?;
    stage(app, call, Upload { file, label, map }, watch).await
}

/// Stages an upload.
pub(crate) async fn stage(
    app: &App,
    call: &Call,
    upload: Upload,
    watch: impl Fn(Progress) + Send + Sync + 'static,
) -> Result<Done<Staged>, Error> {
    let turn = app.imports.turn(call.organization).await.map_err(ImportRefusal::from)?;
    let (app, call) = (app.clone(), call.clone());
    apart(async move {
        let staged = read_into_folder(&app, &call, upload, &watch).await;
        drop(turn);
        staged
    })
    .await
}

async fn read_into_folder(
    app: &App,
    call: &Call,
    upload: Upload,
    watch: &(impl Fn(Progress) + Sync),
) -> Result<Done<Staged>, Error> {
    let Upload { file: Spooled { file, scan }, label, map } = upload;
    let country = country_of(&file, &scan, &map).map_err(ImportRefusal::from)?;
    let sheet = Sheet { source: label.source.clone(), country };
    let mut reader = reader::open_scanned(file, &scan, &map).map_err(ImportRefusal::from)?;
    let mapping: Vec<(String, String)> = reader
        .mapping()
        .columns
        .iter()
        .map(|column| (column.header.clone(), column.field.to_string()))
        .collect();

    let import_id: ImportId = app.clock.mint();
    let folder = app.ledger.load::<Import>(call.organization, import_id).await?;
    let start = ImportCommand::Start {
        import_id,
        label: ImportLabel { name: label.name, source: label.source, mapping: mapping.clone() },
        legal_basis: label.legal_basis,
        encoding: reader.encoding().to_string(),
        separator: reader.separator().to_string(),
    };
    let mut folder = Folder { app, call, folder };
    folder.append(call.command_id, start, None).await?;

    let mut number = 0;
    let mut next = Chunk::read(&mut reader, &sheet, &app.clock)?;
    while let Some(chunk) = next {
        if app.imports.stopping() {
            return Err(ImportRefusal::Stopping.into());
        }
        let started = Instant::now();
        let (rows, invalid) = (chunk.rows.len() as u64, chunk.invalid.len() as u64);
        let stage = ImportCommand::Stage { chunk: number, rows: chunk.rows, invalid: chunk.invalid };
        // The append is polled first: it seals, hands over and waits for Postgres while the next chunk is read.
        let (appended, read) = tokio::join!(folder.append(app.clock.mint(), stage, None), async {
            Chunk::read(&mut reader, &sheet, &app.clock)
        },);
        appended?;
        next = read?;
        number += 1;
        metrics::counter!("docket_import_rows_total", "step" => "staged").increment(rows);
        metrics::counter!("docket_import_rows_total", "step" => "invalid").increment(invalid);
        metrics::histogram!("docket_import_chunk_seconds", "step" => "stage")
            .record(started.elapsed().as_secs_f64());
        let progress = reader.progress();
        let (rows, invalid) = folder.folder.state.rows();
        watch(Progress { done: progress.consumed, total: progress.total, rows });
        if invalid > INVALID_FREE && invalid > rows / 2 {
            return Err(ImportRefusal::File(reader::ReadError::MostlyInvalid { invalid, rows }).into());
        }
    }
    tracing::debug!(import.id = %import_id, rows = reader.rows_read(), damaged = reader.invalid_rows(), "a file was read");
    let (rows, invalid) = folder.folder.state.rows();
    let entity = Staged { import_folder_id: import_id, rows, invalid, mapping: Column::all(&mapping) };
    let appended = folder.append(app.clock.mint(), ImportCommand::FinishStaging, Some(&entity)).await?;
    Ok(Done { entity, appended: Some(appended) })
}

/// Of which country the numbers without a country code are.
fn country_of(file: &File, scan: &Scan, map: &MapOverrides) -> Result<phone::Country, reader::ReadError> {
    let sample = reader::open_scanned(file.try_clone()?, scan, map)?;
    let mut numbers = Vec::new();
    for row in sample.take(ROWS_SAMPLED) {
        let row = row?;
        if let Some(number) = row.values.phone.filter(|_| row.values.country.is_none()) {
            numbers.push(number);
        }
        if numbers.len() == NUMBERS_SAMPLED {
            break;
        }
    }
    Ok(phone::guess_country(numbers.iter().map(String::as_str)))
}

/// Some rows of the file, judged.
struct Chunk {
    rows: Vec<StagedRow>,
    invalid: Vec<InvalidRow>,
}

impl Chunk {
    /// The next rows; none at the end of the file.
    fn read(
        reader: &mut ImportReader<File>,
        sheet: &Sheet,
        clock: &Clock,
    ) -> Result<Option<Self>, ImportRefusal> {
        let mut chunk = Self { rows: Vec::with_capacity(CHUNK_ROWS), invalid: Vec::new() };
        let mut characters = 0;
        while chunk.rows.len() + chunk.invalid.len() < CHUNK_ROWS && characters < CHUNK_CHARACTERS {
            let Some(row) = reader.next().transpose()? else { break };
            characters += weight(&row);
            match judge(row, sheet, clock, || reader.shown()) {
                Judged::Valid(row) => chunk.rows.push(row),
                Judged::Invalid(row) => {
                    characters += row.cells.value().into_iter().flatten().map(String::len).sum::<usize>();
                    chunk.invalid.push(row);
                }
            }
        }
        let empty = chunk.rows.is_empty() && chunk.invalid.is_empty();
        Ok((!empty).then_some(chunk))
    }
}

fn weight(row: &reader::Row) -> usize {
    let custom: usize = row.values.custom.iter().map(|(name, value)| name.len() + value.len()).sum();
    200 + custom
}

/// The folder that is being filled.
struct Folder<'a> {
    app: &'a App,
    call: &'a Call,
    folder: Versioned<Import>,
}

impl Folder<'_> {
    async fn append(
        &mut self,
        id: CommandId,
        command: ImportCommand,
        answer: Option<&Staged>,
    ) -> Result<Appended, Error> {
        let events: Vec<ImportEvent> = self.folder.state.decide(command).map_err(ImportRefusal::from)?;
        let mut origin = self.call.origin.clone();
        origin.causation = (id != self.call.command_id).then_some(self.call.command_id);
        let request = match answer {
            Some(answer) => self.call.request(answer)?,
            None => None,
        };
        let command = Command {
            id,
            organization: self.call.organization,
            at: self.app.clock.now(),
            origin,
            writes: vec![self.folder.write(events.clone())],
            guards: vec![],
            absent: vec![],
            counted_at: None,
            request,
            lane: Lane::Bulk,
        };
        let appended = append_patiently(&self.app.ledger, &command).await?;
        self.folder = self.app.ledger.after(self.call.organization, &self.folder, command.at, events);
        Ok(appended)
    }
}
