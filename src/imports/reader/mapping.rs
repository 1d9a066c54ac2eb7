//! Which column means what.
//!
//! A column is settled by `?map=` if that names it, else by its header (`header`), else it is a custom field
//! under its own header, so that nothing of a file is lost without a word. Several columns may mean the same
//! field: of each row the first non-empty value wins, and the others are kept as custom fields under their
//! headers.

use std::collections::HashSet;

use serde::Serialize;

use super::error::{MapError, Place, ReadError};
use super::field::{Field, KNOWN, MAX_CUSTOM_NAME};
use super::header;

/// The most columns a file may have.
pub const MAX_COLUMNS: usize = 200;

/// The longest header of a column, in characters.
const MAX_HEADER: usize = 200;

/// What the importer was told about columns: `Header:field,Header2:field2`.
///
/// A header is compared like any other (see the module `header`); `#3` is the third column, whatever its
/// header. A field is one of [`KNOWN`], `custom.NAME` or `ignore`. A comma, colon or backslash inside a
/// header is written with a backslash before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MapOverrides {
    pairs: Vec<(String, Field)>,
}

impl MapOverrides {
    /// Read the values of all `map` parameters, percent-decoded.
    pub fn parse<'a>(maps: impl IntoIterator<Item = &'a str>) -> Result<MapOverrides, MapError> {
        let mut overrides = MapOverrides::default();
        for pair in maps.into_iter().flat_map(split_pairs) {
            if pair.text.trim().is_empty() {
                continue;
            }
            overrides.add(&pair)?;
        }
        Ok(overrides)
    }

    fn add(&mut self, pair: &Pair) -> Result<(), MapError> {
        let not_a_pair = || MapError::NotAPair { pair: clip(&pair.text, 60) };
        let colon = pair.colon.ok_or_else(not_a_pair)?;
        let header = pair.text[..colon].trim();
        let name = pair.text[colon + 1..].trim();
        if header.is_empty() || name.is_empty() {
            return Err(not_a_pair());
        }
        let field = match name.strip_prefix("custom.") {
            Some(custom) => {
                let custom = custom.trim();
                let acceptable = !custom.is_empty()
                    && custom.chars().count() <= MAX_CUSTOM_NAME
                    && !custom.chars().any(char::is_control);
                if !acceptable {
                    return Err(MapError::BadCustomName { header: clip(header, 60), max: MAX_CUSTOM_NAME });
                }
                Field::Custom(custom.to_owned())
            }
            None => Field::by_name(name).ok_or_else(|| MapError::UnknownField {
                header: clip(header, 60),
                field: clip(name, 60),
                known: field_names(),
            })?,
        };
        if self.pairs.iter().any(|(earlier, _)| header::same(earlier, header)) {
            return Err(MapError::Repeated { header: clip(header, 60) });
        }
        if self.pairs.len() == MAX_COLUMNS {
            return Err(MapError::TooLong { max: MAX_COLUMNS });
        }
        self.pairs.push((header.to_owned(), field));
        Ok(())
    }

    /// Whether the map may be about a column with this header.
    pub(super) fn mentions(&self, header: &str) -> bool {
        self.pairs.iter().any(|(named, _)| header::same(named, header))
    }

    /// What the map says of each column; refuses a pair that is about none.
    fn fields(&self, headers: &[String]) -> Result<Vec<Option<Field>>, ReadError> {
        let mut fields = vec![None; headers.len()];
        for (named, field) in &self.pairs {
            let columns = columns_named(named, headers);
            if columns.is_empty() {
                return Err(ReadError::NoSuchColumn { column: clip(named, 60), seen: listed(headers) });
            }
            for at in columns {
                fields[at] = Some(field.clone());
            }
        }
        Ok(fields)
    }
}

/// The columns that a map means: those of that very header, else the one of that number, else those of a
/// similar header.
fn columns_named(named: &str, headers: &[String]) -> Vec<usize> {
    let columns_where = |means: &dyn Fn(&String) -> bool| -> Vec<usize> {
        (0..headers.len()).filter(|at| means(&headers[*at])).collect()
    };
    let exact = columns_where(&|header| header == named);
    if !exact.is_empty() {
        return exact;
    }
    match named.strip_prefix('#').and_then(|number| number.parse::<usize>().ok()) {
        Some(number) => number.checked_sub(1).filter(|at| *at < headers.len()).into_iter().collect(),
        None => columns_where(&|header| header::same(named, header)),
    }
}

/// A pair without its backslashes, and where its last unprotected colon is.
#[derive(Default)]
struct Pair {
    text: String,
    colon: Option<usize>,
}

fn split_pairs(map: &str) -> Vec<Pair> {
    let mut pairs = vec![];
    let mut pair = Pair::default();
    let mut chars = map.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next_if(|next| matches!(next, ',' | ':' | '\\')) {
                Some(protected) => pair.text.push(protected),
                None => pair.text.push(c),
            },
            ',' => pairs.push(std::mem::take(&mut pair)),
            _ => {
                if c == ':' {
                    pair.colon = Some(pair.text.len());
                }
                pair.text.push(c);
            }
        }
    }
    pairs.push(pair);
    pairs
}

fn field_names() -> String {
    let names: Vec<_> = KNOWN.iter().map(|known| known.field.name()).collect();
    format!("{}, custom.NAME, ignore", names.join(", "))
}

/// How the columns of one file are read, as the client is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mapping {
    /// All columns, in the order of the file.
    pub columns: Vec<MappedColumn>,
    /// The headers that nobody knew. Their values are kept as custom fields.
    pub unmapped: Vec<String>,
}

/// One column. Serialises as `{column, header, field}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MappedColumn {
    /// The first column is 1.
    pub column: usize,
    pub header: String,
    pub field: Field,
    /// The custom field that takes a value for which the contact's own field has no room.
    #[serde(skip)]
    pub(super) spare: String,
}

impl MappedColumn {
    pub(super) fn place(&self) -> Place {
        Place { column: self.column, header: self.header.clone(), field: self.field.to_string() }
    }
}

impl Mapping {
    pub(super) fn new(headers: Vec<String>, overrides: &MapOverrides) -> Result<Mapping, ReadError> {
        if headers.len() > MAX_COLUMNS {
            return Err(ReadError::TooManyColumns { found: headers.len() });
        }
        let too_long = |header: &String| header.chars().count() > MAX_HEADER;
        if let Some(at) = headers.iter().position(too_long) {
            return Err(ReadError::ColumnNameTooLong { column: at + 1, max: MAX_HEADER });
        }
        if headers.iter().any(|header| looks_like_email(header)) {
            return Err(ReadError::NoHeader);
        }
        let told = overrides.fields(&headers)?;
        let mut fields = told.clone();
        for (field, header) in fields.iter_mut().zip(&headers).filter(|(field, _)| field.is_none()) {
            *field = header::recognise(header);
        }
        if !fields.iter().flatten().any(Field::identifies) {
            return Err(unknown_columns(&headers));
        }
        settle_bare_name(&headers, &told, &mut fields);
        Ok(Mapping::of(headers, fields))
    }

    fn of(headers: Vec<String>, fields: Vec<Option<Field>>) -> Mapping {
        let mut taken: HashSet<String> =
            [Field::FullName.name(), Field::Mobile.name()].map(str::to_owned).into();
        taken.extend(fields.iter().flatten().filter_map(|field| match field {
            Field::Known(name) => Some((*name).to_owned()),
            Field::Custom(name) => Some(name.clone()),
            _ => None,
        }));
        let mut mapping = Mapping { columns: vec![], unmapped: vec![] };
        for (at, (header, field)) in headers.into_iter().zip(fields).enumerate() {
            let column = at + 1;
            let spare = unused_name(&header, column, &mut taken);
            let field = field.unwrap_or_else(|| {
                if !header.is_empty() {
                    mapping.unmapped.push(header.clone());
                }
                Field::Custom(spare.clone())
            });
            mapping.columns.push(MappedColumn { column, header, field, spare });
        }
        mapping
    }
}

/// "Name" beside a column for first names, and without one for last names, is the last name. French files do
/// this.
fn settle_bare_name(headers: &[String], told: &[Option<Field>], fields: &mut [Option<Field>]) {
    let has = |field: Field| fields.contains(&Some(field));
    if !has(Field::FirstName) || has(Field::LastName) {
        return;
    }
    let is_bare = |at: &usize| {
        told[*at].is_none() && fields[*at] == Some(Field::FullName) && header::is_bare_name(&headers[*at])
    };
    if let Some(at) = (0..headers.len()).find(is_bare) {
        fields[at] = Some(Field::LastName);
    }
}

fn unused_name(header: &str, column: usize, taken: &mut HashSet<String>) -> String {
    let name = match header {
        "" => format!("column {column}"),
        _ => header.chars().take(MAX_CUSTOM_NAME).collect(),
    };
    if taken.insert(name.clone()) {
        return name;
    }
    let mut copy = 2;
    loop {
        let name = format!("{name} ({copy})");
        if taken.insert(name.clone()) {
            return name;
        }
        copy += 1;
    }
}

/// A first line of values must not be repeated in an answer as if it were made of headers.
fn unknown_columns(headers: &[String]) -> ReadError {
    let looks_like_number = |header: &String| header.bytes().filter(u8::is_ascii_digit).count() >= 6;
    if headers.iter().any(looks_like_number) {
        return ReadError::NoHeader;
    }
    ReadError::NoKnownColumn { seen: listed(headers) }
}

fn looks_like_email(header: &str) -> bool {
    header.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && domain.contains('.') && !header.contains(char::is_whitespace)
    })
}

fn listed(headers: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown = headers.iter().take(SHOWN).map(|header| format!("\"{}\"", clip(header, 40)));
    let mut list = shown.collect::<Vec<_>>().join(", ");
    if headers.len() > SHOWN {
        list.push_str(&format!(" and {} more", headers.len() - SHOWN));
    }
    list
}

fn clip(text: &str, max: usize) -> String {
    let mut clipped: String = text.chars().take(max).collect();
    if clipped.len() < text.len() {
        clipped.push('…');
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(map: &str) -> Result<MapOverrides, MapError> {
        MapOverrides::parse([map])
    }

    fn mapped(headers: &str, map: &str) -> Result<Vec<String>, ReadError> {
        let headers = headers.split('|').map(str::to_owned).collect();
        let mapping = Mapping::new(headers, &parse(map).unwrap())?;
        Ok(mapping.columns.iter().map(|column| column.field.to_string()).collect())
    }

    #[test]
    fn a_map_goes_before_a_header() {
        for (headers, map, expected) in [
            ("Email|Foo", "Foo:email", ["email", "email"]),
            ("Email|Phone", "Email:custom.old", ["custom.old", "phone"]),
            ("Email|Foo", "foo : custom.bar baz", ["email", "custom.bar baz"]),
            ("Email|Foo", "Foo:ignore", ["email", "ignore"]),
            ("Email|", "#2:FIRSTNAME", ["email", "firstName"]),
            ("Email|a:b, c", r"a\:b\, c:city", ["email", "city"]),
            ("Email|a:b", "a:b:city", ["email", "city"]),
            ("Email|Foo", ",,Foo:jobTitle,", ["email", "jobTitle"]),
            ("Email|E-mail", "E-mail:custom.second", ["email", "custom.second"]),
            ("Foo|Foo", "Foo:email", ["email", "email"]),
            ("Email|#1", "#1:city", ["email", "city"]),
        ] {
            assert_eq!(mapped(headers, map).unwrap(), expected, "{headers} with {map}");
        }
    }

    #[test]
    fn a_bad_map_is_refused_with_its_reason() {
        for (map, code) in [
            ("Foo", "MAP_NOT_A_PAIR"),
            ("Foo:", "MAP_NOT_A_PAIR"),
            (":email", "MAP_NOT_A_PAIR"),
            (r"Foo\:email", "MAP_NOT_A_PAIR"),
            ("Foo:shoeSize", "MAP_UNKNOWN_FIELD"),
            ("Foo:custom", "MAP_UNKNOWN_FIELD"),
            ("Foo:custom.", "MAP_BAD_CUSTOM_NAME"),
            ("Foo:custom.a\u{0}b", "MAP_BAD_CUSTOM_NAME"),
            ("Foo:email,foo:phone", "MAP_REPEATED_COLUMN"),
        ] {
            assert_eq!(parse(map).unwrap_err().code(), code, "{map}");
        }
        let long = (0..=MAX_COLUMNS).map(|n| format!("h{n}:email")).collect::<Vec<_>>().join(",");
        assert_eq!(parse(&long).unwrap_err(), MapError::TooLong { max: MAX_COLUMNS });
        assert!(parse("Foo:shoeSize").unwrap_err().to_string().contains("firstName, lastName"));
    }

    #[test]
    fn a_map_must_name_a_column_of_the_file() {
        for map in ["Telephone:phone", "#3:phone", "#0:phone"] {
            let refusal = mapped("Email|Foo", map).unwrap_err();
            assert!(refusal.to_string().contains("\"Email\", \"Foo\""), "{refusal}");
            assert_eq!(refusal.code(), "NO_SUCH_COLUMN");
        }
    }

    #[test]
    fn name_is_the_last_name_beside_a_first_name() {
        for (headers, expected) in [
            ("Prénom|Nom", &["firstName", "lastName"][..]),
            ("First name|Last name|Name", &["firstName", "lastName", "fullName"]),
            ("NOM|PRENOM", &["lastName", "firstName"]),
            ("First name|Name", &["firstName", "lastName"]),
            ("Nom|Email", &["fullName", "email"]),
            ("Nom complet|Prénom", &["fullName", "firstName"]),
            ("Nom|Nom de famille", &["fullName", "lastName"]),
        ] {
            assert_eq!(mapped(headers, "").unwrap(), expected, "{headers}");
        }
        assert_eq!(mapped("Prénom|Nom", "Nom:fullName").unwrap(), ["firstName", "fullName"]);
    }

    #[test]
    fn columns_without_a_known_header_keep_a_name_of_their_own() {
        assert_eq!(
            mapped("Email|Score|Score||mobile ", "").unwrap(),
            ["email", "custom.Score", "custom.Score (2)", "custom.column 4", "mobile"]
        );
        assert_eq!(
            mapped("Email|Score|Other", "Other:custom.Score").unwrap(),
            ["email", "custom.Score (2)", "custom.Score"]
        );
    }

    #[test]
    fn a_file_without_a_known_column_is_refused() {
        for (headers, code) in [
            ("foo|bar", "NO_KNOWN_COLUMN"),
            ("Ville|Code postal", "NO_KNOWN_COLUMN"),
            ("", "NO_KNOWN_COLUMN"),
            ("Ada|Lovelace|ada@example.com", "NO_HEADER"),
            ("Email|ada@example.com", "NO_HEADER"),
            ("Ada|+33 6 12 34 56 78", "NO_HEADER"),
        ] {
            assert_eq!(mapped(headers, "").unwrap_err().code(), code, "{headers}");
        }
        let refusal = mapped("foo|bar", "").unwrap_err().to_string();
        assert!(refusal.ends_with("it reads: \"foo\", \"bar\""), "{refusal}");
    }

    #[test]
    fn a_header_has_bounds() {
        let at_most = vec!["email"; MAX_COLUMNS].join("|");
        assert_eq!(mapped(&at_most, "").unwrap().len(), MAX_COLUMNS);
        assert_eq!(mapped(&format!("{at_most}|email"), "").unwrap_err().code(), "TOO_MANY_COLUMNS");
        let long = "x".repeat(MAX_HEADER + 1);
        assert_eq!(mapped(&format!("email|{long}"), "").unwrap_err().code(), "COLUMN_NAME_TOO_LONG");
    }
}
