//! The rules of the import, on whole files.

use std::collections::BTreeMap;
use std::io::{self, Cursor};

use csv::{QuoteStyle, Terminator};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::error::RowError;
use super::field::KNOWN;
use super::mapping::MAX_COLUMNS;
use super::records::MAX_RECORD;
use super::*;

type Reader = ImportReader<Cursor<Vec<u8>>>;

fn open_with(file: impl Into<Vec<u8>>, map: &str) -> Result<Reader, ReadError> {
    open(Cursor::new(file.into()), &MapOverrides::parse([map]).unwrap())
}

fn rows(file: impl Into<Vec<u8>>) -> Vec<Row> {
    open_with(file, "").unwrap().map(Result::unwrap).collect()
}

fn refusal(file: impl Into<Vec<u8>>) -> String {
    match open_with(file, "") {
        Err(refusal) => format!("{}: {refusal}", refusal.code()),
        Ok(_) => panic!("the file was accepted"),
    }
}

/// Line and codes of each row.
fn verdicts(file: impl Into<Vec<u8>>) -> Vec<(u64, Vec<&'static str>)> {
    let verdict = |row: &Row| (row.line, row.errors.iter().map(RowError::code).collect());
    rows(file).iter().map(verdict).collect()
}

fn only(file: impl Into<Vec<u8>>) -> RowValues {
    let mut rows = rows(file);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0].errors, []);
    rows.remove(0).values
}

fn fixture(name: &str) -> Reader {
    let path = format!("{}/tests/fixtures/imports/{name}", env!("CARGO_MANIFEST_DIR"));
    open_with(std::fs::read(path).unwrap(), "").unwrap()
}

fn valid(reader: &mut Reader) -> Vec<RowValues> {
    let valid = |row: Result<Row, _>| {
        let row = row.unwrap();
        assert_eq!(row.errors, []);
        row.values
    };
    reader.map(valid).collect()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn custom(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn more_than_sixty_headers_in_english_and_french_are_known() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/imports/headers.csv");
    let expected = csv::Reader::from_path(path).unwrap().into_records().next().unwrap().unwrap();
    let reader = fixture("headers.csv");
    for (column, expected) in reader.mapping().columns.iter().zip(&expected) {
        assert_eq!(column.field.to_string(), expected, "{}", column.header);
    }
    assert_eq!(reader.mapping().columns.len(), expected.len());
    let unmapped = reader.mapping().unmapped.len();
    assert!(expected.len() - unmapped >= 60 && unmapped >= 5);
}

#[test]
fn an_export_of_google_contacts_is_read() {
    let mut reader = fixture("google_contacts.csv");
    let contacts = valid(&mut reader);
    assert_eq!(
        contacts[0],
        RowValues {
            first_name: some("Ada"),
            last_name: some("Lovelace"),
            email: some("ada@example.com"),
            phone: some("+44 20 7946 0018"),
            company: some("Analytical Engines"),
            city: some("London"),
            country: some("GB"),
            tags: vec!["myContacts".into(), "Clients".into()],
            custom: custom(&[
                ("Address 1 - Formatted", "1 St James's Sq\nLondon"),
                ("Address 1 - Label", "Work"),
                ("E-mail 1 - Label", "* Work"),
                ("E-mail 2 - Label", "Home"),
                ("E-mail 2 - Value", "ada.home@example.net"),
                ("Phone 1 - Label", "Mobile"),
                ("Phone 1 - Value", "+44 20 7946 0123"),
                ("jobTitle", "Programmer"),
                ("notes", "Met at the fair.\nCall in June."),
                ("postalCode", "SW1Y 4LB"),
                ("street", "1 St James's Sq"),
            ]),
            ..RowValues::default()
        }
    );
    assert_eq!(contacts[1].email, some("grace@example.org"));
    assert_eq!((reader.rows_read(), reader.invalid_rows()), (2, 0));
}

#[test]
fn an_export_of_outlook_in_french_is_read() {
    let mut reader = fixture("outlook_fr.csv");
    assert_eq!((reader.encoding(), reader.separator()), (Encoding::Windows1252, ';'));
    let contacts = valid(&mut reader);
    assert_eq!(contacts[0].last_name, some("Lefèvre"));
    assert_eq!(contacts[0].company, some("Boulangerie Lefèvre & Fils"));
    assert_eq!(contacts[0].phone, some("03 53 01 00 01"));
    assert_eq!(contacts[0].custom["mobile"], "06 39 98 00 01");
    assert_eq!(contacts[0].custom["notes"], "Préfère être appelée l’après-midi; pas le lundi");
    assert_eq!(contacts[1].last_name, some("Œuvrard"));
    assert_eq!(contacts[1].phone, some("06 39 98 00 02"));
    assert_eq!(contacts[1].custom["notes"], "Devis à 1 200 €");
}

#[test]
fn unicode_text_of_excel_is_read() {
    let mut reader = fixture("excel_unicode.txt");
    assert_eq!((reader.encoding(), reader.separator()), (Encoding::Utf16Le, '\t'));
    let contacts = valid(&mut reader);
    assert_eq!(contacts[0].last_name, some("Müller"));
    assert_eq!(contacts[1].first_name, some("李"));
    let Progress { consumed, total } = reader.progress();
    assert_eq!(consumed, total);
}

#[test]
fn a_file_that_declares_its_separator_is_read() {
    let mut reader = fixture("excel_sep.csv");
    let contacts: Vec<_> = reader.by_ref().map(Result::unwrap).collect();
    let lines: Vec<_> = contacts.iter().map(|row| row.line).collect();
    assert_eq!(lines, [3, 4]);
    let [jean, paule] = &contacts[..] else { unreachable!() };
    assert_eq!((&jean.values.first_name, &jean.values.last_name), (&some("Jean"), &some("DUPONT")));
    assert_eq!(jean.values.tags, ["client", "vip"]);
    assert!(!jean.values.do_not_contact);
    assert_eq!((&paule.values.first_name, &paule.values.last_name), (&some("Paule"), &some("Durand")));
    assert!(paule.values.do_not_contact);
}

#[test]
fn exports_of_other_crms_are_read() {
    let hubspot = valid(&mut fixture("hubspot.csv"));
    assert_eq!(hubspot[0].external_id, some("101"));
    assert_eq!(hubspot[0].company, some("Analytical Engines"));
    assert_eq!(hubspot[0].custom["mobile"], "+44 7700 900123");
    assert_eq!(hubspot[0].custom["Contact owner"], "Sam Seller");
    assert_eq!([hubspot[0].do_not_contact, hubspot[1].do_not_contact], [false, true]);

    let salesforce = valid(&mut fixture("salesforce.csv"));
    assert_eq!(salesforce[0].company, some("Analytical Engines"));
    assert_eq!(salesforce[0].city, some("London"));
    assert_eq!(salesforce[0].external_id, some("0035g00000A1b2C"));
    // E-mail is allowed and calling is not: one no is enough.
    assert!(salesforce[0].do_not_contact);

    let mailchimp = valid(&mut fixture("mailchimp.csv"));
    assert_eq!(mailchimp[0].tags, ["clients", "spring"]);
    assert_eq!([mailchimp[0].do_not_contact, mailchimp[1].do_not_contact], [false, true]);
}

#[test]
fn a_mapping_is_told_in_json() {
    let reader = open_with("E-mail,Score,Foo,Bar\n", "Foo:custom.foo,Bar:ignore").unwrap();
    assert_eq!(
        serde_json::to_value(reader.mapping()).unwrap(),
        json!({
            "columns": [
                { "column": 1, "header": "E-mail", "field": "email" },
                { "column": 2, "header": "Score", "field": "custom.Score" },
                { "column": 3, "header": "Foo", "field": "custom.foo" },
                { "column": 4, "header": "Bar", "field": "ignore" },
            ],
            "unmapped": ["Score"],
        })
    );
}

#[test]
fn a_file_that_is_no_list_of_contacts_is_refused() {
    for (file, expected) in [
        (&b""[..], "FILE_EMPTY"),
        (b"\n\r\n", "FILE_EMPTY"),
        (b"\xEF\xBB\xBF", "FILE_EMPTY"),
        (b"sep=;\n", "FILE_EMPTY"),
        (b"sep=!\nemail\n", "UNSUPPORTED_SEPARATOR"),
        (b"PK\x03\x04....xl/workbook.xml", "NOT_CSV: the file looks like an Excel workbook (.xlsx)"),
        (b"%PDF-1.4", "NOT_CSV: the file looks like a PDF document"),
        (b"\xFF\xFE\0\0e\0\0\0", "UNSUPPORTED_ENCODING"),
        (b"foo,bar\n1,2\n", "NO_KNOWN_COLUMN: no column was recognised"),
        (b"Ada,ada@example.com\nGrace,grace@example.org\n", "NO_HEADER"),
        (b"Ada,0612345678\n", "NO_HEADER"),
        (b"em\0ail,city\n", "BAD_HEADER: the header on line 1 cannot be read: the value holds a NUL"),
        (b"\n\n\"email,city\na@example.com,Paris\n", "BAD_HEADER: the header on line 3"),
        (b",,,\n", "NO_KNOWN_COLUMN"),
    ] {
        let refusal = refusal(file);
        assert!(refusal.starts_with(expected), "{refusal} for {:?}", String::from_utf8_lossy(file));
    }
    let wide = vec!["email"; MAX_COLUMNS + 1].join(",");
    assert!(refusal(wide).starts_with("TOO_MANY_COLUMNS: the header has 201 columns; at most 200"));
    let long = "x".repeat(MAX_RECORD + 1);
    assert!(refusal(format!("email,{long}\n")).starts_with("BAD_HEADER: the header on line 1"));
}

#[test]
fn a_file_without_rows_has_no_rows() {
    for file in ["email", "email\n", "email,city\r\n\r\n,\r\n , \r\n", "sep=,\nemail\n"] {
        assert_eq!(rows(file), [], "{file:?}");
    }
}

#[test]
fn a_bad_row_does_not_stop_the_good_ones() {
    for (name, bad, code) in [
        ("too few columns", &b"a@example.com,Paris"[..], "TOO_FEW_COLUMNS"),
        ("too many columns", b"a@example.com,Paris,x,y", "TOO_MANY_COLUMNS"),
        ("text after a quote", b"\"a@example.com\"x,Paris,x", "TEXT_AFTER_QUOTE"),
        ("an open quote", b"\"a@example.com,Paris,x", "UNCLOSED_QUOTE"),
        ("NUL", b"a@example.com,Pa\0ris,x", "NUL"),
        ("a bell", b"a@example.com,Pa\x07ris,x", "CONTROL_CHARACTER"),
        ("a long name", &[b"a@example.com,", &[b'x'; 201][..], b",x"].concat(), "VALUE_TOO_LONG"),
        ("nobody", b",Paris,x", "NO_IDENTITY"),
    ] {
        for end in ["\n", "\r\n", "\r"] {
            let (header, first, last) = ("email,city,note", "first@example.com,,", "\"last@example.com\",,");
            let lines = [header.as_bytes(), first.as_bytes(), bad, last.as_bytes()];
            let file = lines.join(end.as_bytes());
            assert_eq!(verdicts(file), [(2, vec![]), (3, vec![code]), (4, vec![])], "{name}");
        }
    }
}

#[test]
fn an_invalid_row_can_be_shown() {
    let rows = rows("email,Do not call\nA,maybe\nb\0,\n\"x\"y,\"z\"\n");
    let shown: Vec<_> = rows.iter().map(|row| row.raw.clone()).collect();
    assert_eq!(shown, [vec!["A", "maybe"], vec!["b␀", ""], vec!["xy", "z"]]);
    assert_eq!(
        serde_json::to_value(&rows[0]).unwrap(),
        json!({
            "line": 2,
            "values": { "email": "A", "doNotContact": false },
            "errors": [{
                "code": "UNCLEAR_OPT_OUT",
                "field": "doNotContact",
                "column": 2,
                "message": "column 2 (Do not call): the value says neither yes nor no, \
                            so that it is unclear whether the contact may be contacted",
            }],
            "raw": ["A", "maybe"],
        })
    );
    assert!(!rows.iter().flat_map(|row| &row.errors).any(|error| error.to_string().contains("maybe")));
}

#[test]
fn an_invalid_row_is_shown_within_bounds() {
    let cell = "é".repeat(5_000);
    let row = format!("email{}\na{}\n", ",x".repeat(199), format!(",{cell}").repeat(50));
    let shown: usize = rows(row)[0].raw.iter().map(String::len).sum();
    assert!((10_000..20_000).contains(&shown), "{shown}");
}

#[test]
fn every_fault_of_a_row_is_told() {
    let file = "phone,email,tags,opt out\n3.36E+10,a\x01b,\"aaa,bbb\",perhaps\n";
    assert_eq!(verdicts(file), [(2, vec!["ROUNDED_NUMBER", "CONTROL_CHARACTER", "UNCLEAR_OPT_OUT"])]);
}

#[test]
fn tags_have_bounds() {
    let tags = |count: usize| (0..count).map(|n| format!("t{n}")).collect::<Vec<_>>().join(";");
    let file = |tags: &str| format!("email,tags\na@example.com,{tags}\n");
    assert_eq!(only(file(&format!("{};t1;t1", tags(50)))).tags.len(), 50);
    assert_eq!(verdicts(file(&tags(51)))[0].1, ["TOO_MANY_TAGS"]);
    assert_eq!(only(file(&"é".repeat(64))).tags.len(), 1);
    assert_eq!(verdicts(file(&"é".repeat(65)))[0].1, ["TAG_TOO_LONG"]);
}

#[test]
fn the_first_value_wins_and_the_second_is_kept() {
    let file = "Email,Work email,Phone,Mobile,Score,Score\n\
                a@example.com,b@example.com,1,2,3,4\n\
                ,b@example.com,,2,,4\n\
                a@example.com,a@example.com,2,2,3,3\n";
    let rows: Vec<_> = rows(file).into_iter().map(|row| row.values).collect();
    assert_eq!((&rows[0].email, &rows[0].phone), (&some("a@example.com"), &some("1")));
    assert_eq!(
        rows[0].custom,
        custom(&[("Work email", "b@example.com"), ("mobile", "2"), ("Score", "3"), ("Score (2)", "4")])
    );
    assert_eq!((&rows[1].email, &rows[1].phone), (&some("b@example.com"), &some("2")));
    assert_eq!(rows[1].custom, custom(&[("Score (2)", "4")]));
    assert_eq!(rows[2].custom, custom(&[("Score", "3"), ("Score (2)", "3")]));
}

#[test]
fn no_opt_out_is_lost() {
    for (header, value, expected) in [
        ("Ne pas contacter", "oui", true),
        ("Ne pas contacter", "non", false),
        ("Ne pas contacter", "", false),
        ("UNSUB_TIME", "2024-05-01 12:00:00", true),
        ("Opt-in", "non", true),
        ("Opt-in", "oui", false),
        ("Consent", "by telephone in May", false),
    ] {
        let values = only(format!("email,{header}\na@example.com,{value}\n"));
        assert_eq!(values.do_not_contact, expected, "{header}: {value}");
    }
    assert!(only("email,dnc,opt out\na@example.com,yes,no\n").do_not_contact);
    assert!(only("email,dnc,opt out\na@example.com,no,yes\n").do_not_contact);
}

#[test]
fn a_full_name_is_split_only_when_it_is_needed() {
    let values = only("Name,email\nAda Lovelace,a@example.com\n");
    assert_eq!((values.first_name, values.last_name), (some("Ada"), some("Lovelace")));
    assert_eq!(values.custom, custom(&[("fullName", "Ada Lovelace")]));
    let values = only("First name,Last name,Display name\nAda,King,Ada Lovelace\n");
    assert_eq!((values.first_name, values.last_name), (some("Ada"), some("King")));
    assert_eq!(values.custom["fullName"], "Ada Lovelace");
    assert_eq!(only("Name,email\nAda,a@example.com\n").custom, BTreeMap::new());
}

#[test]
fn one_stray_byte_costs_one_row_of_a_utf_8_file() {
    let mut file = "prénom,email\n".as_bytes().to_vec();
    for n in 0..1_000 {
        file.extend(format!("Zoé,z{n}@example.com\n").bytes());
    }
    file.extend(b"Ren\xe9e,r@example.com\nZo\xc3\xa9,last@example.com\n");
    let mut reader = open_with(file, "").unwrap();
    assert_eq!(reader.encoding(), Encoding::Utf8);
    let invalid: Vec<_> = reader.by_ref().map(Result::unwrap).filter(|row| !row.is_valid()).collect();
    assert_eq!(invalid.len(), 1);
    assert_eq!((invalid[0].line, invalid[0].errors[0].code()), (1_002, "UNDECODABLE"));
    assert_eq!(invalid[0].raw[0], "Ren\u{fffd}e");
    assert_eq!(reader.rows_read(), 1_002);
}

#[test]
fn one_late_byte_of_windows_1252_loses_nothing_of_an_ascii_file() {
    let mut file = b"first name,email\n".to_vec();
    file.extend(b"Ada,a@example.com\n".repeat(20_000));
    file.extend(b"Ren\xe9e,r@example.com\n");
    let last = open_with(file, "").unwrap().last().unwrap().unwrap();
    assert_eq!(last.values.first_name, some("Renée"));
    assert_eq!(last.line, 20_002);
}

#[test]
fn a_quoted_line_end_belongs_to_its_value() {
    let rows = rows("email,note,city\na@example.com,\"one\r\ntwo\",\"Aix\nen Provence\"\nb@example.com,,\n");
    assert_eq!(rows[0].values.custom["notes"], "one\r\ntwo");
    assert_eq!(rows[0].values.city, some("Aix en Provence"));
    assert_eq!(rows[1].line, 5);
}

#[test]
fn a_disk_error_is_not_the_end_of_the_file() {
    struct Failing(Cursor<Vec<u8>>, u64);
    impl io::Read for Failing {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.0.position() > self.1 { Err(io::Error::other("disk")) } else { self.0.read(out) }
        }
    }
    impl Seek for Failing {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }
    let file = [b"email\n".to_vec(), b"a@example.com\n".repeat(100_000)].concat();
    let scan = Scan::of(&mut Cursor::new(file.clone())).unwrap();
    let mut reader =
        open_scanned(Failing(Cursor::new(file), 500_000), &scan, &MapOverrides::default()).unwrap();
    assert!(reader.by_ref().any(|row| row.is_err()));
    assert!(reader.next().is_none());
    assert!(reader.rows_read() < 100_000);
}

#[test]
fn a_spooled_upload_reads_like_a_file() {
    let mut spool = Spool::create_in(&std::env::temp_dir(), DEFAULT_LIMIT).unwrap();
    for piece in "prénom;email\nZoé;zoe@example.com\n".as_bytes().chunks(3) {
        spool.write(piece).unwrap();
    }
    let Spooled { file, scan } = spool.finish().unwrap();
    let mut reader = open_scanned(file, &scan, &MapOverrides::default()).unwrap();
    let row = reader.next().unwrap().unwrap();
    assert_eq!(row.values.first_name, some("Zoé"));
    assert!(reader.next().is_none());
    assert_eq!(reader.progress(), Progress { consumed: scan.bytes, total: scan.bytes });
}

#[test]
fn values_survive_json() {
    let values = only("email,tags,opt out,score\na@example.com,\"a,b\",yes,7\n");
    let json = serde_json::to_string(&values).unwrap();
    assert_eq!(serde_json::from_str::<RowValues>(&json).unwrap(), values);
}

#[test]
fn a_reader_can_go_to_another_thread() {
    fn assert_send<T: Send + 'static>() {}
    assert_send::<ImportReader>();
}

/// How a file may be written.
#[derive(Debug, Clone, Copy)]
enum Written {
    Utf8,
    Utf8WithMark,
    Utf16Le,
    Utf16Be,
    Windows1252,
}

impl Written {
    const ALL: [Written; 5] =
        [Written::Utf8, Written::Utf8WithMark, Written::Utf16Le, Written::Utf16Be, Written::Windows1252];
}

fn encode(text: &str, written: Written) -> Vec<u8> {
    match written {
        Written::Utf8 => text.into(),
        Written::Utf8WithMark => format!("\u{feff}{text}").into(),
        Written::Utf16Le => format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect(),
        Written::Utf16Be => format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_be_bytes).collect(),
        Written::Windows1252 => encoding_rs::WINDOWS_1252.encode(text).0.into_owned(),
    }
}

fn any_file() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        2 => prop::collection::vec(any::<u8>(), 0..20),
        4 => "(email|nom|tags|dnc|oui|[,;\t|]|\"|\"\"|\r|\n|\r\n|é|=\"|[a-z]{1,5}){0,12}"
            .prop_map(String::into_bytes),
        1 => Just(b"\0".to_vec()),
        1 => Just(b"sep=;\n".to_vec()),
        1 => Just(b"\xFF\xFE".to_vec()),
        1 => Just("\u{feff}".into()),
    ];
    prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_panic(file in any_file(), has_header in any::<bool>()) {
        let mut bytes = if has_header { b"email,nom,tags,dnc\n".to_vec() } else { vec![] };
        bytes.extend(file);
        let length = bytes.len() as u64;
        if let Ok(mut reader) = open_with(bytes, "") {
            let mut line = 0;
            for row in reader.by_ref() {
                let row = row.unwrap();
                prop_assert!(row.line > line);
                line = row.line;
                prop_assert_eq!(row.is_valid(), row.raw.is_empty());
                let shown = serde_json::to_string(&row).unwrap();
                prop_assert!(!shown.contains("\\u0000"));
            }
            prop_assert_eq!(reader.progress(), Progress { consumed: length, total: length });
        }
    }
}

proptest! {
    #[test]
    fn what_the_csv_crate_writes_is_read_back(
        rows in prop::collection::vec(("[a-zéàç,;|\"]{1,12}", "([a-zéàç,;|\t\"\r\n ]{0,20}[a-z])?"), 1..12),
        separator in select(&b",;\t|"[..]),
        terminator in select(&[Terminator::CRLF, Terminator::Any(b'\n'), Terminator::Any(b'\r')][..]),
        style in select(&[QuoteStyle::Necessary, QuoteStyle::Always, QuoteStyle::NonNumeric][..]),
        written in select(&Written::ALL[..]),
    ) {
        let mut writer = csv::WriterBuilder::new()
            .delimiter(separator)
            .terminator(terminator)
            .quote_style(style)
            .from_writer(vec![]);
        writer.write_record(["Réf", "Commentaire", "E-mail"]).unwrap();
        for (id, notes) in &rows {
            writer.write_record([id, notes, "a@example.com"]).unwrap();
        }
        let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        let mut reader = open_with(encode(&text, written), "").unwrap();
        prop_assert_eq!(reader.separator(), char::from(separator));
        let read = valid(&mut reader);
        prop_assert_eq!(read.len(), rows.len());
        for (read, (id, notes)) in read.iter().zip(&rows) {
            prop_assert_eq!(read.external_id.as_ref(), Some(id));
            let notes = notes.trim();
            prop_assert_eq!(read.custom.get("notes").map_or("", String::as_str), notes);
        }
    }
}

const DOCUMENTATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/imports.md");

/// Run it with `PRINT_DOCS=1` in the environment to print the table anew.
#[test]
fn the_documentation_prints_the_synonyms_of_the_code() {
    let mut table = "| Field | English headers | French headers |\n|---|---|---|\n".to_owned();
    for known in &KNOWN {
        let [english, french] = [known.english, known.french].map(|headers| headers.join(", "));
        table.push_str(&format!("| `{}` | {english} | {french} |\n", known.field));
    }
    let documentation = std::fs::read_to_string(DOCUMENTATION).unwrap();
    let (before, rest) = documentation.split_once("<!-- synonyms -->\n").unwrap();
    let (printed, after) = rest.split_once("<!-- /synonyms -->").unwrap();
    if std::env::var_os("PRINT_DOCS").is_some() {
        let anew = format!("{before}<!-- synonyms -->\n{table}<!-- /synonyms -->{after}");
        std::fs::write(DOCUMENTATION, anew).unwrap();
    } else {
        assert_eq!(printed, table);
    }
}

#[test]
fn the_documentation_explains_every_code() {
    let documentation = std::fs::read_to_string(DOCUMENTATION).unwrap();
    let sources = [include_str!("error.rs"), include_str!("spool.rs")].concat();
    let is_code = |text: &&str| text.len() > 2 && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let codes: Vec<_> = sources.split('"').skip(1).step_by(2).filter(is_code).collect();
    assert!(codes.len() > 30);
    for code in codes {
        assert!(documentation.contains(&format!("`{code}`")), "{code}");
    }
}
