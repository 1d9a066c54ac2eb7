//! Where the chunks of a folder are read from, with all that is known of their rows.
//!
//! Whom a row may be about is asked of the read models, whose position is kept with the answer.

use std::sync::Arc;

use docket_aggregates::contact::ContactProfile;
use docket_aggregates::ids::{ImportId, OrganizationId};
use docket_aggregates::import::{Import, ImportEvent, StagedContact, StagedRow};

use crate::app::App;
use crate::imports::matching::Known;
use crate::imports::{Error, ImportRefusal};
use crate::ledger::keys::OrganizationKeys;
use crate::ledger::{Stream, read};
use crate::readside::{Consistency, View};
use crate::suppressions::{Against, Standing};

/// Events that stand in the folder's stream before its first chunk.
const BEFORE_CHUNKS: u64 = 1;

/// Where the chunks of a folder are read from.
pub(super) struct Source {
    pub(super) app: App,
    pub(super) organization: OrganizationId,
    pub(super) import_id: ImportId,
    pub(super) keys: Arc<OrganizationKeys>,
}

/// A staged chunk with all that is known of its rows.
pub(super) struct Ready {
    pub(super) number: u64,
    staged: Vec<StagedRow>,
    /// The contacts of the read models that its rows may be about, and the position up to which these are folded.
    pub(super) known: Known,
    pub(super) position: i64,
    /// Under what each row may be on the suppression list, and what this has against them.
    pub(super) standings: Vec<Standing>,
    pub(super) against: Against,
}

impl Ready {
    /// Its rows; one whose subject was erased since it was staged is nobody's any more.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&StagedRow, &StagedContact)> {
        self.staged.iter().filter_map(|row| Some((row, row.contact.value()?)))
    }
}

impl Source {
    /// Reads a chunk and looks its rows up, in the given view or in whatever the read models have.
    pub(super) async fn read(&self, number: u64, view: Option<View>) -> Result<Ready, Error> {
        let staged = self.read_chunk(number).await?;
        let mut ready = Ready {
            number,
            staged,
            known: Known::default(),
            position: 0,
            standings: vec![],
            against: Against::default(),
        };
        let profiles: Vec<&ContactProfile> = ready.rows().map(|(_, contact)| &contact.profile).collect();
        let standings: Vec<Standing> =
            profiles.iter().map(|profile| Standing::of(&self.keys, profile)).collect();
        let addresses = standings.iter().flat_map(Standing::all);
        let against = Against::read(&self.app, self.organization, addresses).await?;
        let mut view = match view {
            Some(view) => view,
            None => self.app.readside.view(self.organization, Consistency::Eventual).await?,
        };
        let known = Known::read(&mut view, self.organization, &profiles).await?;
        (ready.known, ready.position) = (known, view.position);
        (ready.standings, ready.against) = (standings, against);
        Ok(ready)
    }

    /// One staged chunk, opened. Its place in the stream follows from its number.
    async fn read_chunk(&self, number: u64) -> Result<Vec<StagedRow>, Error> {
        let stream = Stream::of::<Import>(self.import_id);
        let ledger = &self.app.ledger;
        let after = number + BEFORE_CHUNKS;
        let mut page = read::stream_page(ledger.pool(), self.organization, stream, after, 1).await?;
        read::open(ledger.keys(), self.organization, &mut page).await?;
        let event = page.pop().and_then(|stored| serde_json::from_value(stored.payload).ok());
        match event {
            Some(ImportEvent::RowsStaged { chunk, rows, .. }) if chunk == number => Ok(rows),
            _ => Err(ImportRefusal::Damaged(number).into()),
        }
    }
}
