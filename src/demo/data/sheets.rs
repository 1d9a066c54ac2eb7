//! Rows as three people would hand them over: a French spreadsheet, a partner's export, the web form's list.
//!
//! Each sheet has its own separator, encoding, headings, order of columns, sign for "yes" and way to write
//! tags:
//!
//! | sheet | separator | encoding | lines | opted out | tags |
//! |---|---|---|---|---|---|
//! | 0 | semicolon | Windows-1252 | CR LF | `oui`, `OUI`, `x`; else empty or `non` | `a, b` |
//! | 1 | comma | UTF-8, no mark | LF | `yes`, `TRUE`, `1`; else empty, `no` or `FALSE` | `a\|b` |
//! | 2 | tab | UTF-16LE with mark | CR LF | `1`; else empty or `0` | `a; b` |

use super::dice::Dice;

/// One line of a sheet, each cell as somebody typed it.
#[derive(Clone, Default)]
pub(super) struct Row {
    pub(super) title: &'static str,
    pub(super) first: String,
    pub(super) last: String,
    pub(super) job: &'static str,
    pub(super) company: String,
    pub(super) email: String,
    pub(super) phone: String,
    pub(super) postcode: String,
    pub(super) city: String,
    pub(super) country: &'static str,
    /// In French and English.
    pub(super) tags: Vec<(&'static str, &'static str)>,
    pub(super) opted_out: bool,
    pub(super) note: String,
}

/// The bytes of sheet 0, 1 or 2.
pub(super) fn write(dice: &mut Dice, sheet: usize, rows: &[Row]) -> Vec<u8> {
    match sheet {
        0 => encoding_rs::WINDOWS_1252.encode(&french(dice, rows)).0.into_owned(),
        1 => partner(dice, rows).into_bytes(),
        _ => std::iter::once('\u{feff}')
            .chain(web_form(dice, rows).chars())
            .flat_map(|sign| sign.encode_utf16(&mut [0; 2]).to_vec())
            .flat_map(u16::to_le_bytes)
            .collect(),
    }
}

fn french(dice: &mut Dice, rows: &[Row]) -> String {
    let head = [
        "Réf.",
        "Civilité",
        "Prénom",
        "Nom",
        "Fonction",
        "Raison sociale",
        "Adresse e-mail",
        "Téléphone",
        "Code postal",
        "Ville",
        "Étiquettes",
        "Ne pas contacter",
        "Remarques",
    ];
    lines(b';', csv::Terminator::CRLF, head, rows, |number, row| {
        [
            format!("C{:06}", number + 1),
            row.title.to_owned(),
            row.first.clone(),
            row.last.clone(),
            row.job.to_owned(),
            row.company.clone(),
            row.email.clone(),
            row.phone.clone(),
            row.postcode.clone(),
            row.city.clone(),
            tags(row, |tag| tag.0, ", "),
            yes_or_no(dice, row, &["oui", "OUI", "x"], &["", "", "", "non"]),
            row.note.clone(),
        ]
    })
}

fn partner(dice: &mut Dice, rows: &[Row]) -> String {
    let head = [
        "External ID",
        "Company",
        "First Name",
        "Last Name",
        "Job Title",
        "Email",
        "Phone",
        "City",
        "Postal Code",
        "Country",
        "Tags",
        "Do Not Contact",
        "Notes",
    ];
    lines(b',', csv::Terminator::Any(b'\n'), head, rows, |number, row| {
        [
            format!("EXT-{:05}", number + 70_001),
            row.company.clone(),
            row.first.clone(),
            row.last.clone(),
            row.job.to_owned(),
            row.email.clone(),
            row.phone.clone(),
            row.city.clone(),
            row.postcode.clone(),
            row.country.to_owned(),
            tags(row, |tag| tag.1, "|"),
            yes_or_no(dice, row, &["yes", "TRUE", "1"], &["", "", "no", "FALSE"]),
            row.note.clone(),
        ]
    })
}

fn web_form(dice: &mut Dice, rows: &[Row]) -> String {
    let head = ["Nom", "Prénom", "Courriel", "Tél.", "Société", "Ville", "Tags", "Désinscrit", "Message"];
    lines(b'\t', csv::Terminator::CRLF, head, rows, |_, row| {
        [
            row.last.clone(),
            row.first.clone(),
            row.email.clone(),
            row.phone.clone(),
            row.company.clone(),
            row.city.clone(),
            tags(row, |tag| tag.0, "; "),
            yes_or_no(dice, row, &["1"], &["", "0"]),
            row.note.clone(),
        ]
    })
}

fn lines<const N: usize>(
    separator: u8,
    terminator: csv::Terminator,
    head: [&str; N],
    rows: &[Row],
    mut cells: impl FnMut(usize, &Row) -> [String; N],
) -> String {
    let mut sheet =
        csv::WriterBuilder::new().delimiter(separator).terminator(terminator).from_writer(Vec::new());
    let written = (|| {
        sheet.write_record(head)?;
        rows.iter().enumerate().try_for_each(|(number, row)| sheet.write_record(cells(number, row)))
    })();
    written.expect("a record of fixed length is written to memory");
    let bytes = sheet.into_inner().expect("memory is flushed without fail");
    String::from_utf8(bytes).expect("cells are strings, and separators are ASCII")
}

fn tags(
    row: &Row,
    language: impl Fn(&(&'static str, &'static str)) -> &'static str,
    separator: &str,
) -> String {
    row.tags.iter().map(language).collect::<Vec<_>>().join(separator)
}

fn yes_or_no(dice: &mut Dice, row: &Row, yes: &[&str], no: &[&str]) -> String {
    dice.pick(if row.opted_out { yes } else { no }).to_owned()
}
