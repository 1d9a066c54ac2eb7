use super::*;
use cqrs_es::Aggregate;
use cqrs_es::test::TestFramework;
use uuid::Uuid;

type Given = TestFramework<ContentPiece>;
const ID: ContentPieceId = ContentPieceId(Uuid::from_u128(1));

fn sha(digit: &str) -> String {
    digit.repeat(64)
}

fn text() -> PieceText {
    PieceText {
        title: "First touch".into(),
        summary: None,
        source_path: "nurture/first-touch.md".into(),
        tags: vec!["nurture".into()],
        channel_intent: Some(Channel::Email),
        niche: Some("renovation".into()),
        frontmatter: None,
    }
}

fn add(text: PieceText) -> ContentPieceCommand {
    ContentPieceCommand::Add {
        piece_id: ID,
        text,
        source_sha256: sha("a"),
        text_sha256: Some(sha("b")),
        path_key: "p1".into(),
    }
}

fn added() -> ContentPieceEvent {
    ContentPieceEvent::ContentPieceAdded {
        piece_id: ID,
        text: Personal::known(ID.uuid(), text()),
        source_sha256: sha("a"),
        text_sha256: Some(sha("b")),
        path_key: "p1".into(),
    }
}

fn deleted() -> ContentPieceEvent {
    ContentPieceEvent::ContentPieceDeleted { freed_path_key: "p1".into() }
}

fn change(patch: ContentPiecePatch) -> ContentPieceCommand {
    ContentPieceCommand::Change(Box::new(patch))
}

#[test]
fn a_piece_is_added_once() {
    Given::with(()).given_no_previous_events().when(add(text())).then_expect_events(vec![added()]);
    Given::with(()).given(vec![added()]).when(add(text())).then_expect_error(ContentPieceError::AlreadyAdded);
}

#[test]
fn sizes_are_counted_in_bytes() {
    let emoji = |count| "🏠".repeat(count);
    let titled = |title: String| PieceText { title, ..text() };
    let summed = |summary: String| PieceText { summary: Some(summary), ..text() };
    let headed = |frontmatter: String| PieceText { frontmatter: Some(frontmatter), ..text() };
    for (text, refusal) in [
        (titled(emoji(128)), None),
        (titled(emoji(128) + "a"), Some(ContentPieceError::Title)),
        (titled(" ".into()), Some(ContentPieceError::Title)),
        (summed(emoji(1_024)), None),
        (summed(emoji(1_024) + "a"), Some(ContentPieceError::Summary)),
        (headed("a".repeat(65_536)), None),
        (headed("a".repeat(65_537)), Some(ContentPieceError::Frontmatter)),
        (
            PieceText { source_path: "../a".into(), ..text() },
            Some(ContentPieceError::Path(PathError::DotSegment)),
        ),
        (
            PieceText { source_path: "cafe\u{301}.md".into(), ..text() },
            Some(ContentPieceError::Path(PathError::NotComposed)),
        ),
        (
            PieceText { niche: Some("A".into()), ..text() },
            Some(ContentPieceError::Label(LabelError::NotASlug)),
        ),
    ] {
        assert_eq!(ContentPiece::default().decide(add(text)).err(), refusal);
    }
}

#[test]
fn a_hash_is_64_lower_case_hexadecimal_digits() {
    for wrong in [sha("a")[1..].to_owned(), sha("a") + "a", sha("A"), sha("g"), String::new()] {
        let command = ContentPieceCommand::Add {
            piece_id: ID,
            text: text(),
            source_sha256: wrong.clone(),
            text_sha256: None,
            path_key: "p1".into(),
        };
        assert_eq!(
            ContentPiece::default().decide(command),
            Err(ContentPieceError::NotASha256("sourceSha256")),
            "{wrong}"
        );
        Given::with(())
            .given(vec![added()])
            .when(change(ContentPiecePatch { text_sha256: Some(Some(wrong)), ..Default::default() }))
            .then_expect_error(ContentPieceError::NotASha256("textSha256"));
    }
}

#[test]
fn a_piece_that_moves_gives_its_old_path_free() {
    let path = ContentPath::parse("nurture/second-touch.md").unwrap();
    let patch = ContentPiecePatch { source_path: Some((path, "p2".into())), ..Default::default() };
    Given::with(()).given(vec![added()]).when(change(patch)).then_expect_events(vec![
        ContentPieceEvent::ContentPieceChanged {
            text: Personal::known(
                ID.uuid(),
                PieceText { source_path: "nurture/second-touch.md".into(), ..text() },
            ),
            source_sha256: sha("a"),
            text_sha256: Some(sha("b")),
            path_key: "p2".into(),
            freed_path_key: Some("p1".into()),
        },
    ]);
}

#[test]
fn a_change_that_changes_nothing_is_no_event() {
    let patch = ContentPiecePatch { title: Some("First touch".into()), ..Default::default() };
    Given::with(()).given(vec![added()]).when(change(patch)).then_expect_events(vec![]);
}

#[test]
fn a_deleted_piece_is_gone() {
    Given::with(())
        .given(vec![added()])
        .when(ContentPieceCommand::Delete)
        .then_expect_events(vec![deleted()]);
    for command in [ContentPieceCommand::Delete, change(ContentPiecePatch::default())] {
        Given::with(())
            .given(vec![added(), deleted()])
            .when(command)
            .then_expect_error(ContentPieceError::Unknown);
    }
}

#[test]
fn labels_are_only_for_the_text_that_the_board_vouched_for() {
    let mut piece = ContentPiece::default();
    assert_eq!(piece.labels_for(None, &sha("b")), None);
    piece.apply(added());
    let labels = Labels { niche: Some("renovation".into()), tags: vec!["nurture".into()] };
    assert_eq!(piece.labels_for(None, &sha("b")), Some(labels));
    // A subject is words, too: the board vouched for the one that it gave.
    let title = piece.piece.as_ref().and_then(|piece| piece.text.value()).map(|text| text.title.clone());
    assert!(piece.labels_for(title.as_deref(), &sha("b")).is_some());
    for other in ["", "Other words"] {
        assert_eq!(piece.labels_for(Some(other), &sha("b")), None, "{other}");
    }
    // The hash of the file vouches for nothing.
    assert_eq!(piece.labels_for(None, &sha("a")), None);
    piece.apply(deleted());
    assert_eq!(piece.labels_for(None, &sha("b")), None);
}
