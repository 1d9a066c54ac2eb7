//! What somebody wrote themselves in a mail that quotes another one.
//!
//! Every client quotes in its own way: marks before each line, a line that says who wrote when, wrapped or not and in the
//! writer's language, a copy of the quoted mail's head, a ruled line; and below stands what a telephone or a signature adds. None
//! of it is the writer's word, wherever it stands. Nobody's signature is known that has no `--` above it: what stands
//! there counts as said.

/// Lines that are looked at.
const LINES_MAX: usize = 20_000;
/// Lines over which one that says who wrote when may be wrapped.
const ATTRIBUTION_LINES_MAX: usize = 4;
/// Characters of a line that a telephone adds.
const DEVICE_CHARACTERS_MAX: usize = 120;

/// What says that somebody wrote, as clients write it above a quotation.
const WROTE: [&str; 16] = [
    "wrote",
    "écrit",
    "ecrit",
    "schrieb",
    "geschrieben",
    "escribió",
    "escribio",
    "scritto",
    "escreveu",
    "schreef",
    "skrev",
    "napisał",
    "napsal",
    "kirjoitti",
    "пишет",
    "写道",
];

/// How a line begins that says who wrote when, beside a date or a name with an address.
const BEGINNINGS: [&str; 14] =
    ["on ", "le ", "am ", "el ", "il ", "em ", "op ", "den ", "på ", "w dniu ", "dne ", "vom ", "a ", "na "];

/// The field of a quoted mail's head that names its writer, and the others: one of each stands among its first lines, in
/// either order.
const FROM: [&str; 9] = ["from", "de", "von", "da", "van", "från", "fra", "od", "lähettäjä"];
const OTHER_FIELDS: [&str; 33] = [
    "sent",
    "date",
    "to",
    "cc",
    "subject",
    "envoyé",
    "à",
    "objet",
    "gesendet",
    "datum",
    "an",
    "betreff",
    "enviado",
    "fecha",
    "para",
    "asunto",
    "data",
    "assunto",
    "inviato",
    "a",
    "oggetto",
    "verzonden",
    "aan",
    "onderwerp",
    "skickat",
    "till",
    "ämne",
    "sendt",
    "til",
    "emne",
    "wysłano",
    "do",
    "temat",
];

/// What telephones and programs add below an answer.
const DEVICES: [&str; 43] = [
    "sent from my ",
    "sent from outlook",
    "sent from mail ",
    "sent from yahoo",
    "sent from proton",
    "sent from gmail",
    "sent via ",
    "sent with ",
    "get outlook for",
    "envoyé de mon ",
    "envoyé depuis ",
    "envoyé à partir ",
    "envoyé avec ",
    "envoyé d'",
    "télécharger outlook",
    "téléchargez outlook",
    "obtenir outlook",
    "obtenez outlook",
    "von meinem ",
    "von meiner ",
    "von meinem/meiner ",
    "sendt fra ",
    "wysłane z ",
    "wysłano z ",
    "odesláno z ",
    "lähetetty ",
    "отправлено с ",
    "отправлено из ",
    "发自我的",
    "gesendet von ",
    "gesendet mit ",
    "gesendet über ",
    "holen sie sich outlook",
    "outlook für ",
    "enviado desde ",
    "enviado do ",
    "obtener outlook",
    "obter o outlook",
    "inviato da ",
    "scarica outlook",
    "verzonden vanaf ",
    "verstuurd vanaf ",
    "skickat från ",
];

/// What somebody wrote themselves.
pub fn own_words(text: &str) -> String {
    let lines: Vec<String> = text.lines().take(LINES_MAX).map(plain).collect();
    let mut own = Vec::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let rest = &lines[at..];
        if ends_it(rest) {
            break;
        }
        if let Some(length) = attribution(rest) {
            let follows = rest[length..].iter().find(|line| !line.is_empty());
            // Below it the quotation stands without marks.
            if follows.is_some_and(|line| !line.starts_with('>')) {
                break;
            }
            at += length;
            continue;
        }
        if !line.starts_with('>') && !is_of_a_device(line) {
            own.push(line.as_str());
        }
        at += 1;
    }
    own.join("\n").trim().to_owned()
}

/// A line with single spaces, without what nobody sees.
fn plain(line: &str) -> String {
    let unseen = |c: char| {
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}')
            || (c.is_control() && !c.is_whitespace())
    };
    let seen: String = line.chars().filter(|c| !unseen(*c)).collect();
    seen.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether nothing of the writer's follows: a ruled line, a signature, the head of the quoted mail.
fn ends_it(lines: &[String]) -> bool {
    let Some(first) = lines.first() else { return true };
    if first.starts_with("--") || first.starts_with("____") {
        return true;
    }
    let field = |line: &String, names: &[&str]| {
        let line = line.trim_start_matches('*').to_lowercase();
        line.split_once(':').is_some_and(|(name, _)| names.contains(&name.trim_end_matches(['*', ' '])))
    };
    let follows = |names: &[&str]| lines.iter().skip(1).take(3).any(|line| field(line, names));
    (field(first, &FROM) && follows(&OTHER_FIELDS))
        || (field(first, &OTHER_FIELDS) && follows(&FROM))
        || quotes_on_its_line(first)
}

/// Whether it says who wrote when, and begins the quotation behind that.
fn quotes_on_its_line(line: &str) -> bool {
    let line = line.to_lowercase();
    let told = WROTE.iter().filter_map(|wrote| line.split_once(&format!("{wrote}:"))).next();
    told.is_some_and(|(before, after)| {
        let dated = before.contains(|c: char| c.is_ascii_digit()) && before.contains('@');
        dated && !after.trim().is_empty()
    })
}

/// How many lines say who wrote when, if that is what begins here.
fn attribution(lines: &[String]) -> Option<usize> {
    let first = lines.first()?.to_lowercase();
    let dated = |text: &str| text.contains(|c: char| c.is_ascii_digit());
    let told = |text: &str| WROTE.iter().any(|wrote| text.contains(wrote));
    let begins = first.starts_with(|c: char| c.is_ascii_digit())
        || BEGINNINGS.iter().any(|beginning| first.starts_with(beginning))
        || first.contains('@')
        || told(&first);
    if !begins {
        return None;
    }
    let mut whole = String::new();
    for (index, line) in lines.iter().take(ATTRIBUTION_LINES_MAX).enumerate() {
        if line.is_empty() || line.starts_with('>') {
            return None;
        }
        whole.push_str(&line.to_lowercase());
        whole.push(' ');
        if line.ends_with([':', '：']) {
            let says = told(&whole) && (dated(&whole) || whole.contains('@'));
            return (says || (dated(&whole) && whole.contains('@'))).then_some(index + 1);
        }
    }
    None
}

fn is_of_a_device(line: &str) -> bool {
    let line = line.replace('’', "'").to_lowercase();
    line.chars().nth(DEVICE_CHARACTERS_MAX).is_none() && DEVICES.iter().any(|added| line.starts_with(added))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_or_added_is_not_said() {
        for (text, own) in [
            ("STOP\r\n", "STOP"),
            ("STOP\n\nOn Sat, 21 Nov 2026 at 19:00, Ops <ops@example.com> wrote:\n\n> Hello", "STOP"),
            ("STOP\nOn Sat, Nov 21, 2026 at 7:00 PM Traboule <\nops@example.com>\nwrote:\n> Hello", "STOP"),
            ("Le 22/11/2026 à 08:00, Ops a écrit\u{a0}:\n> Hello\n\nSTOP", "STOP"),
            ("STOP\n\nFrom: Ops <ops@example.com>\nSent: Sunday\nTo: Ann\nSubject: Hi\n\nHello", "STOP"),
            ("STOP\n\n*De :* Ops\n*Envoyé :* dimanche\n\nHello", "STOP"),
            ("STOP\n\nGesendet: Sonntag, 22. November 2026\nVon: Ops\nAn: Ann\nBetreff: Hi\n\nHello", "STOP"),
            ("STOP\n\nenvoyé : 22 novembre 2026\nde : Ops\nà : Ann\n\nHello", "STOP"),
            ("STOP\nVon meinem/meiner Galaxy gesendet", "STOP"),
            ("STOP\n\nSendt fra min iPhone", "STOP"),
            ("STOP\n\nOn Sun, 22 Nov 2026 at 9:00, Ops<ops@example.com> wrote:   Hello\n\nBye", "STOP"),
            ("To: the point\nYes", "To: the point\nYes"),
            ("> Reply STOP to end this\n\nNo, go on", "No, go on"),
            ("> Want more?\nYes\n> And on Monday?\nNo", "Yes\nNo"),
            ("Yes\n\n-----Ursprüngliche Nachricht-----\nVon: Ops", "Yes"),
            ("Yes\n-- \nAnn Lee", "Yes"),
            ("Yes\n\nOn Mon, 1 Jun 2026, Ops <ops@example.com> wrote:\n\nHello, unmarked", "Yes"),
            ("From: the start I liked it\nand still do", "From: the start I liked it\nand still do"),
            ("Three things to do:\n1. call\n2. write", "Three things to do:\n1. call\n2. write"),
            ("> only this", ""),
            ("", ""),
        ] {
            assert_eq!(own_words(text), own, "{text:?}");
        }
    }
}
