//! What a column can mean, and the headers by which it is known.
//!
//! The table [`KNOWN`] is the only list of synonyms. The documentation prints it, so the two cannot differ.

use std::fmt;

use serde::{Serialize, Serializer};

/// The longest name of a custom field, in characters.
pub const MAX_CUSTOM_NAME: usize = 100;

/// What a column of an import file means.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Field {
    FirstName,
    LastName,
    /// Split into first and last name when the row has neither.
    FullName,
    Email,
    Phone,
    /// The phone when the row has no other; else the custom field `mobile`.
    Mobile,
    Company,
    City,
    Country,
    ExternalId,
    Tags,
    /// A yes makes the contact one that is not contacted.
    DoNotContact,
    /// A no makes the contact one that is not contacted.
    Consent,
    /// A field without a place of its own in a contact, but with a known name among the custom fields.
    Known(&'static str),
    Custom(String),
    Ignored,
}

impl Field {
    /// The name in `?map=`, in the answered mapping and in the faults of rows.
    pub fn name(&self) -> &str {
        match self {
            Field::FirstName => "firstName",
            Field::LastName => "lastName",
            Field::FullName => "fullName",
            Field::Email => "email",
            Field::Phone => "phone",
            Field::Mobile => "mobile",
            Field::Company => "company",
            Field::City => "city",
            Field::Country => "country",
            Field::ExternalId => "externalId",
            Field::Tags => "tags",
            Field::DoNotContact => "doNotContact",
            Field::Consent => "consent",
            Field::Known(name) => name,
            Field::Custom(_) => "custom",
            Field::Ignored => "ignore",
        }
    }

    /// Whether a value in such a column says who a contact is.
    pub fn identifies(&self) -> bool {
        matches!(
            self,
            Field::FirstName
                | Field::LastName
                | Field::FullName
                | Field::Email
                | Field::Phone
                | Field::Mobile
                | Field::Company
                | Field::ExternalId
        )
    }

    /// The field that `?map=` calls `name`; custom fields are not among them.
    pub(super) fn by_name(name: &str) -> Option<Field> {
        KNOWN
            .iter()
            .map(|known| &known.field)
            .chain([&Field::Ignored])
            .find(|field| field.name().eq_ignore_ascii_case(name))
            .cloned()
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::Custom(name) => write!(f, "custom.{name}"),
            _ => f.write_str(self.name()),
        }
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A field and the headers that mean it.
pub struct KnownField {
    pub field: Field,
    pub english: &'static [&'static str],
    pub french: &'static [&'static str],
}

const fn known(
    field: Field,
    english: &'static [&'static str],
    french: &'static [&'static str],
) -> KnownField {
    KnownField { field, english, french }
}

/// All fields, in the order in which the documentation shows them. Spelling is free: see the module `header`.
#[rustfmt::skip]
pub static KNOWN: [KnownField; 23] = [
    known(
        Field::FirstName,
        &["first name", "given name", "forename", "fname", "christian name", "first"],
        &["prénom", "prénom usuel", "petit nom"],
    ),
    known(
        Field::LastName,
        &["last name", "surname", "family name", "lname", "last"],
        &["nom de famille", "nom usuel", "nom d'usage", "nom patronymique", "patronyme", "nom de naissance"],
    ),
    known(
        Field::FullName,
        &["name", "full name", "display name", "contact", "contact name", "person", "file as"],
        &["nom", "nom complet", "nom et prénom", "nom prénom", "prénom nom", "prénom et nom",
          "nom du contact", "interlocuteur", "nom affiché"],
    ),
    known(
        Field::Email,
        &["email", "email address", "mail", "mail address", "email id", "company email", "user email"],
        &["adresse e-mail", "adresse mail", "courriel", "adresse courriel", "adresse électronique",
          "adresse de messagerie", "messagerie", "mél", "mel", "e-mail société", "e-mail entreprise"],
    ),
    known(
        Field::Phone,
        &["phone", "phone number", "telephone", "telephone number", "tel", "landline", "direct line",
          "switchboard", "company phone", "company phone number", "company main phone", "contact number"],
        &["téléphone", "n° de téléphone", "n° de tél", "téléphone fixe", "tél fixe", "fixe", "ligne directe",
          "standard", "téléphone société", "téléphone entreprise"],
    ),
    known(
        Field::Mobile,
        &["mobile", "mobile phone", "mobile number", "mobile phone number", "phone mobile", "cell",
          "cell phone", "cellphone", "cell number", "cellular", "sms", "sms number"],
        &["portable", "téléphone portable", "téléphone mobile", "tél portable", "tél mobile",
          "n° de portable", "n° de mobile", "gsm", "cellulaire"],
    ),
    known(
        Field::Company,
        &["company", "company name", "organization", "organisation", "organization name",
          "organisation name", "account", "account name", "business name", "employer", "associated company",
          "default address company", "legal name", "trading name"],
        &["société", "nom de la société", "entreprise", "nom de l'entreprise", "raison sociale",
          "nom d'organisation", "employeur", "établissement", "enseigne", "dénomination sociale",
          "structure", "compte"],
    ),
    known(
        Field::City,
        &["city", "town", "address city", "city name", "company city", "locality"],
        &["ville", "commune", "localité", "nom de la ville", "nom de la commune", "adresse ville",
          "ville société"],
    ),
    known(
        Field::Country,
        &["country", "country region", "country code", "country name", "address country",
          "address country code", "company country", "nation"],
        &["pays", "pays région", "code pays", "nom du pays", "adresse pays"],
    ),
    known(
        Field::ExternalId,
        &["external id", "id", "identifier", "external identifier", "external key", "reference", "ref",
          "record id", "customer id", "customer number", "customer code", "client id", "crm id", "unique id",
          "uid", "user id", "member number"],
        &["identifiant", "identifiant externe", "référence", "réf", "code client", "n° client", "réf client",
          "référence client", "matricule", "clé externe", "code contact"],
    ),
    known(
        Field::Tags,
        &["tags", "tag", "labels", "label", "keywords", "categories", "category", "group membership",
          "groups"],
        &["étiquettes", "étiquette", "libellés", "mots-clés", "catégories", "catégorie", "groupes"],
    ),
    known(
        Field::DoNotContact,
        &["do not contact", "do not call", "do not email", "do not mail", "dnc", "opt out", "opted out",
          "email opt out", "opted out of email", "has opted out of email", "optout", "unsubscribed",
          "unsubscribe", "unsubscribed from all email", "unsub time", "blacklisted", "blocklisted",
          "suppressed", "stop"],
        &["ne pas contacter", "ne plus contacter", "ne pas appeler", "ne pas démarcher", "désinscrit",
          "désinscription", "désabonné", "désabonnement", "date de désinscription", "liste noire",
          "liste rouge", "bloctel", "opposition", "refus de contact", "stop sms"],
    ),
    known(
        Field::Consent,
        &["consent", "opt in", "opted in", "optin", "subscribed", "accepts marketing",
          "accepts email marketing", "marketing consent", "email consent", "may contact", "can contact"],
        &["consentement", "accepte les e-mails", "accord de contact", "peut être contacté",
          "inscrit à la newsletter", "abonné newsletter"],
    ),
    known(
        Field::Known("jobTitle"),
        &["job title", "job", "position", "role", "occupation", "organization title", "job function"],
        &["fonction", "poste", "intitulé du poste", "titre du poste", "métier", "profession", "rôle"],
    ),
    known(
        Field::Known("language"),
        &["language", "preferred language", "lang", "locale"],
        &["langue", "langue préférée"],
    ),
    known(
        Field::Known("website"),
        &["website", "web site", "website url", "web page", "company website", "homepage"],
        &["site web", "site internet", "site", "page web"],
    ),
    known(
        Field::Known("linkedin"),
        &["linkedin", "linkedin url", "linkedin profile", "linkedin profile url", "linkedin bio"],
        &["profil linkedin", "url linkedin", "page linkedin"],
    ),
    known(
        Field::Known("instagram"),
        &["instagram", "instagram handle", "instagram username", "instagram url"],
        &["compte instagram", "profil instagram"],
    ),
    known(
        Field::Known("whatsapp"),
        &["whatsapp", "whatsapp number", "whatsapp phone number"],
        &["n° whatsapp"],
    ),
    known(
        Field::Known("street"),
        &["street", "street address", "address", "address line", "address street"],
        &["rue", "adresse", "adresse postale", "voie", "n° et rue"],
    ),
    known(
        Field::Known("postalCode"),
        &["postal code", "postcode", "post code", "zip", "zip code", "zip postal code",
          "address postal code"],
        &["code postal", "cp", "adresse code postal"],
    ),
    known(
        Field::Known("region"),
        &["state", "region", "province", "county", "state region", "state province", "address region"],
        &["région", "département", "canton"],
    ),
    known(
        Field::Known("notes"),
        &["notes", "note", "comment", "comments", "remarks"],
        &["commentaire", "commentaires", "remarque", "remarques", "observations"],
    ),
];
