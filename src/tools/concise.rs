//! Answers that fit into an agent's context.
//!
//! A concise answer leaves out nulls, shortens long texts in lists, and stays below a number of tokens: a page holds as many
//! rows as fit and goes on with its cursor, any other list is cut. The answer says so, and `responseFormat: detailed` gives
//! all. Texts of the one thing that was asked for are left as they are: whoever changes a word of one sends it back whole.

use serde_json::Value;

/// Tokens of a concise answer's data, at most, as [`tokens`] estimates them. Answers full of ids were seen to cost up to a
/// ninth more, and the envelope around them some 150: together that stays below 2 000 with something to spare.
const TOKENS_MAX: usize = 1_550;
/// Characters of a text in a list of a concise answer.
pub const TEXT_MAX: usize = 400;
/// How deep lists are looked for.
const DEPTH_MAX: usize = 3;

/// A list that was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where it is in the data.
    pub path: String,
    /// Items that are left.
    pub shown: usize,
    /// Items that there were.
    pub of: usize,
}

/// Takes out nulls, and shortens texts of more than `longest` characters in lists; says whether a text was shortened.
pub fn tidy(value: &mut Value, longest: usize) -> bool {
    match value {
        Value::Array(items) => items.iter_mut().fold(false, |cut, item| shorten(item, longest) | cut),
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().fold(false, |cut, member| tidy(member, longest) | cut)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn shorten(value: &mut Value, longest: usize) -> bool {
    match value {
        Value::String(text) => match text.char_indices().nth(longest) {
            Some((end, _)) => {
                text.truncate(end);
                text.push('…');
                true
            }
            None => false,
        },
        Value::Array(items) => items.iter_mut().fold(false, |cut, item| shorten(item, longest) | cut),
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().fold(false, |cut, member| shorten(member, longest) | cut)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// How many rows of a page fit, if this page of `limit` rows does not.
pub fn rows_that_fit(data: &Value, limit: u32) -> Option<u32> {
    let weight = tokens(data);
    // The last page has fewer rows than its limit.
    let rows = u32::try_from(longest(data, 0)).map_or(limit, |rows| rows.min(limit));
    if weight <= TOKENS_MAX || rows <= 1 {
        return None;
    }
    // A little less, because rows differ.
    let share = TOKENS_MAX as f64 / weight as f64 * 0.95;
    Some(((f64::from(rows) * share) as u32).clamp(1, rows - 1))
}

/// The length of the longest list.
fn longest(value: &Value, depth: usize) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::Object(members) if depth < DEPTH_MAX => {
            members.values().map(|member| longest(member, depth + 1)).max().unwrap_or(0)
        }
        _ => 0,
    }
}

/// Cuts the longest lists until the answer fits; each keeps one item at least.
pub fn cut_lists(data: &mut Value) -> Vec<Cut> {
    let mut cuts: Vec<Cut> = Vec::new();
    // Each round cuts one list; there are only a few in any answer.
    for _ in 0..8 {
        let weight = tokens(data);
        if weight <= TOKENS_MAX {
            break;
        }
        let Some((path, heaviest)) = heaviest(data, String::new(), 0) else { break };
        let of = heaviest.len();
        let each = heaviest.iter().map(tokens).sum::<usize>().div_ceil(of).max(1);
        let shown = of.saturating_sub((weight - TOKENS_MAX).div_ceil(each)).max(1);
        heaviest.truncate(shown);
        match cuts.iter_mut().find(|cut| cut.path == path) {
            Some(cut) => cut.shown = shown,
            None => cuts.push(Cut { path, shown, of }),
        }
    }
    cuts
}

/// The list of several items that weighs most.
fn heaviest(value: &mut Value, path: String, depth: usize) -> Option<(String, &mut Vec<Value>)> {
    match value {
        Value::Array(items) if items.len() > 1 => Some((path, items)),
        Value::Object(members) if depth < DEPTH_MAX => members
            .iter_mut()
            .filter_map(|(name, member)| {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                heaviest(member, path, depth + 1)
            })
            .max_by_key(|(_, items)| items.iter().map(tokens).sum::<usize>()),
        _ => None,
    }
}

/// About how many tokens a value is in JSON. Models differ; what they agree in is that four letters are one token, and
/// that ids and numbers are dear.
fn tokens(value: &Value) -> usize {
    hundredths(value).div_ceil(100)
}

fn hundredths(value: &Value) -> usize {
    const PUNCTUATION: usize = 50;
    match value {
        Value::Null | Value::Bool(_) => 100,
        Value::Number(number) => of_text(&number.to_string()),
        Value::String(text) => of_text(text) + 2 * PUNCTUATION,
        Value::Array(items) => items.iter().map(|item| hundredths(item) + PUNCTUATION).sum::<usize>() + 100,
        Value::Object(members) => {
            let member =
                |(name, member): (&String, &Value)| of_text(name) + hundredths(member) + 3 * PUNCTUATION;
            members.iter().map(member).sum::<usize>() + 100
        }
    }
}

fn of_text(text: &str) -> usize {
    text.chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' => 25,
            '0'..='9' => 70,
            ' ' => 10,
            c if c.is_ascii() => 50,
            _ => 100,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use uuid::Uuid;

    fn rows(count: u128) -> Vec<Value> {
        (0..count)
            .map(|n| json!({ "contactId": Uuid::from_u128(n << 60 | n), "name": "Ada Martin" }))
            .collect()
    }

    #[test]
    fn a_concise_answer_has_no_nulls_and_no_long_texts() {
        let mut data = json!({"a": null, "b": [{"c": null, "d": "é".repeat(500)}]});
        assert!(!tidy(&mut data.clone(), usize::MAX));
        assert!(tidy(&mut data, TEXT_MAX));
        assert_eq!(data["b"][0]["d"].as_str().unwrap().chars().count(), TEXT_MAX + 1);
        assert_eq!(data, json!({"b": [{"d": data["b"][0]["d"]}]}));
        assert!(!tidy(&mut json!({"a": ["é".repeat(TEXT_MAX)]}), TEXT_MAX));
        assert!(!tidy(&mut json!({"a": {"b": "é".repeat(500)}}), TEXT_MAX), "what is changed and sent back");
    }

    #[test]
    fn a_page_holds_as_many_rows_as_fit() {
        assert_eq!(rows_that_fit(&json!({ "contacts": rows(25) }), 25), None);
        let fit = rows_that_fit(&json!({ "contacts": rows(100) }), 100).unwrap();
        assert!((20..100).contains(&fit), "{fit}");
        let short = rows_that_fit(&json!({ "contacts": rows(90) }), 100);
        assert!(short.is_some_and(|fit| fit < 70), "of the rows that there are: {short:?}");
        let page = json!({ "contacts": rows(u128::from(fit)) });
        assert!(tokens(&page) <= TOKENS_MAX);
        assert_eq!(
            rows_that_fit(&json!({ "text": "a".repeat(100_000) }), 1),
            None,
            "one row is always shown"
        );
    }

    #[test]
    fn the_longest_list_is_cut_and_the_others_stay() {
        let mut data = json!({ "short": rows(3), "inner": { "long": rows(500) }, "total": 500 });
        let cuts = cut_lists(&mut data);
        assert!(tokens(&data) <= TOKENS_MAX);
        assert_eq!((cuts.len(), cuts[0].path.as_str(), cuts[0].of), (1, "inner.long", 500));
        assert_eq!(data["inner"]["long"].as_array().unwrap().len(), cuts[0].shown);
        assert_eq!((data["short"].as_array().unwrap().len(), &data["total"]), (3, &json!(500)));
        assert!(cut_lists(&mut data).is_empty(), "what fits is left alone");
    }

    #[test]
    fn ids_are_dearer_than_words() {
        let id = tokens(&json!(Uuid::from_u128(0x0190_a0f0_1234_7000_8a3b_5c6d_7e8f_9012)));
        assert!((18..=28).contains(&id), "{id}");
        assert!((5..=9).contains(&tokens(&json!("A dozen bakeries of Lyon"))));
    }
}
