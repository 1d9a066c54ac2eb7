//! What the agency writes: its senders, the words that it vouches for, its rules, and mails at every stage.

/// Everything that has to do with sending.
pub struct DemoSends {
    /// Mails a day, over all senders.
    pub daily_cap: u64,
    /// Whose days count.
    pub time_zone: &'static str,
    /// What may be written to beside the recipients of the sample: the domains of RFC 2606.
    pub allowed: &'static [&'static str],
    /// Two senders with one credential.
    pub outboxes: &'static [DemoOutbox],
    /// Texts that the board vouches for.
    pub pieces: &'static [DemoPiece],
    /// In the order of their priority.
    pub rules: &'static [DemoRule],
    /// Single mails.
    pub letters: &'static [DemoLetter],
    /// Mails after mails.
    pub sequence: DemoSequence,
}

/// A sender.
pub struct DemoOutbox {
    /// Names it within the sample.
    pub key: &'static str,
    /// What its mails are about, for the rules.
    pub niche: &'static str,
    /// The name beside its address.
    pub from_name: &'static str,
    /// Its mailbox at the agency.
    pub mailbox: &'static str,
}

/// A text.
pub struct DemoPiece {
    /// Names it within the sample.
    pub key: &'static str,
    /// For people.
    pub title: &'static str,
    /// Where its file stands.
    pub path: &'static str,
    /// What it is about.
    pub niche: &'static str,
    /// What rules look at.
    pub tags: &'static [&'static str],
    /// The text, to the letter.
    pub text: &'static str,
}

/// Which mails wait for a person.
pub struct DemoRule {
    /// Tags that a mail must have.
    pub tags: &'static [&'static str],
    /// Its niche.
    pub niche: Option<&'static str>,
    /// Whether it goes without a person.
    pub goes: bool,
}

/// Whom a mail is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DemoRecipient {
    /// A member of the campaign, counted among those that have an e-mail address and may be written to.
    Member(usize),
    /// This address.
    Address(&'static str),
}

/// What becomes of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterThen {
    /// A rule lets it go.
    Goes,
    /// A person is asked and has not answered yet.
    Waits,
    /// A person was asked and said yes.
    Approved,
    /// A person was asked and said no, with these words.
    Rejected(&'static str),
    /// Its recipient may not be written to.
    Blocked,
}

/// A mail.
pub struct DemoLetter {
    /// For which campaign.
    pub campaign: &'static str,
    /// Who sends it.
    pub outbox: &'static str,
    /// Which caller drafted it.
    pub agent: &'static str,
    /// Whom it is for.
    pub to: DemoRecipient,
    /// The piece that its text is from, word for word.
    pub piece: Option<&'static str>,
    /// What it is about.
    pub subject: &'static str,
    /// What it says; empty with a piece.
    pub text: &'static str,
    /// What becomes of it.
    pub then: LetterThen,
}

/// Mails after mails, for everybody who was won in a campaign.
pub struct DemoSequence {
    /// For people.
    pub name: &'static str,
    /// Whose contacts are led through it.
    pub campaign: &'static str,
    /// Who sends it.
    pub outbox: &'static str,
    /// Who wrote it.
    pub author: &'static str,
    /// How long it waits before each mail, in minutes, its subject and its text.
    pub steps: &'static [(u32, &'static str, &'static str)],
    /// What one of them answers.
    pub reply: &'static str,
}

/// The one sample of it. Nothing in it depends on the day.
pub const SENDS: DemoSends = DemoSends {
    daily_cap: 60,
    time_zone: "Europe/Paris",
    allowed: &["@example.com", "@example.net", "@example.org"],
    outboxes: &[
        DemoOutbox {
            key: "reseau",
            niche: "reseau-de-pose",
            from_name: "Traboule, réseau de pose",
            mailbox: "reseau",
        },
        DemoOutbox {
            key: "coproprietes",
            niche: "coproprietes",
            from_name: "Traboule, copropriétés",
            mailbox: "coproprietes",
        },
    ],
    pieces: &[DemoPiece {
        key: "place-libre",
        title: "Une place dans notre réseau",
        path: "courriels/reseau/place-libre.md",
        niche: "reseau-de-pose",
        tags: &["relu"],
        text: "Bonjour, une place se libère dans notre réseau de pose. En parlons-nous dix minutes cette semaine ?",
    }],
    rules: &[
        DemoRule { tags: &["relu"], niche: None, goes: true },
        DemoRule { tags: &[], niche: Some("reseau-de-pose"), goes: true },
        DemoRule { tags: &[], niche: Some("coproprietes"), goes: false },
    ],
    letters: &[
        DemoLetter {
            campaign: "isolation",
            outbox: "reseau",
            agent: "yasmine",
            to: DemoRecipient::Member(0),
            piece: Some("place-libre"),
            subject: "Une place dans notre réseau",
            text: "",
            then: LetterThen::Goes,
        },
        DemoLetter {
            campaign: "coproprietes",
            outbox: "coproprietes",
            agent: "anne-laure",
            to: DemoRecipient::Member(0),
            piece: None,
            subject: "Votre audit énergétique avant l'assemblée générale",
            text: "Bonjour,\n\nl'audit peut être rendu trois semaines avant votre assemblée générale. Je vous \
                   propose une visite de l'immeuble mardi ou jeudi matin.\n\nAnne-Laure Gonnet",
            then: LetterThen::Approved,
        },
        DemoLetter {
            campaign: "coproprietes",
            outbox: "coproprietes",
            agent: "mehdi",
            to: DemoRecipient::Member(1),
            piece: None,
            subject: "Dernière chance pour votre audit !",
            text: "Bonjour,\n\nsans réponse de votre part demain, les aides seront perdues.\n\nMehdi Haddad",
            then: LetterThen::Rejected(
                "Les aides courent jusqu'à la fin de l'année : on ne presse personne avec une date fausse.",
            ),
        },
        DemoLetter {
            campaign: "coproprietes",
            outbox: "coproprietes",
            agent: "mehdi",
            to: DemoRecipient::Member(2),
            piece: None,
            subject: "Audit énergétique : ce que l'assemblée doit voter",
            text: "Bonjour,\n\nvoici le projet de résolution pour votre prochaine assemblée. Je vous rappelle \
                   vendredi pour en parler.\n\nMehdi Haddad",
            then: LetterThen::Waits,
        },
        DemoLetter {
            campaign: "coproprietes",
            outbox: "coproprietes",
            agent: "luca",
            to: DemoRecipient::Member(3),
            piece: None,
            subject: "Chauffage collectif : trois devis à comparer",
            text: "Bonjour,\n\ncomme convenu, un modèle de tableau pour comparer les devis de chaufferie. Il tient \
                   sur une page.\n\nLuca Moretti",
            then: LetterThen::Waits,
        },
        DemoLetter {
            campaign: "coproprietes",
            outbox: "coproprietes",
            agent: "maelle",
            to: DemoRecipient::Member(4),
            piece: None,
            subject: "Votre conseil syndical : une visite d'une heure",
            text: "Bonjour,\n\nune heure sur place suffit pour savoir si un audit vaut la peine. Quel jour convient \
                   au conseil syndical ?\n\nMaëlle Le Goff",
            then: LetterThen::Waits,
        },
        DemoLetter {
            campaign: "coproprietes",
            outbox: "coproprietes",
            agent: "lumen",
            to: DemoRecipient::Member(5),
            piece: None,
            subject: "Suite à notre appel",
            text: "Bonjour,\n\nmerci pour cet échange. Les pièces utiles à l'audit : règlement de copropriété, \
                   factures de trois hivers, dernier procès-verbal.\n\nLumen, assistant de Traboule",
            then: LetterThen::Waits,
        },
        DemoLetter {
            campaign: "isolation",
            outbox: "reseau",
            agent: "thomas",
            to: DemoRecipient::Address("accueil@mairie-de-nulle-part.example"),
            piece: None,
            subject: "Réseau de pose",
            text: "Bonjour,\n\nqui s'occupe chez vous des travaux d'isolation ?\n\nThomas Vuillermoz",
            then: LetterThen::Blocked,
        },
    ],
    sequence: DemoSequence {
        name: "Réseau de pose : bienvenue",
        campaign: "isolation",
        outbox: "reseau",
        author: "camille",
        steps: &[
            (
                0,
                "Votre place dans le réseau de pose",
                "Bonjour {{firstName|à vous}},\n\nmerci pour notre échange au téléphone. Il ne manque que votre \
                 attestation RGE pour vous proposer les premiers chantiers.\n\nCamille Ferrand",
            ),
            (
                3 * 24 * 60,
                "Les chantiers de ce mois",
                "Bonjour {{firstName|à vous}},\n\nles chantiers du mois sont attribués vendredi. Votre attestation \
                 suffit, en pièce jointe d'une simple réponse.\n\nCamille Ferrand",
            ),
        ],
        reply: "Bonjour,\n\noui, je vous l'envoie ce soir. Appelez-moi jeudi matin.\n",
    },
};
