//! Bytes to a label, a review or a state, where nothing about them is unusual.
//!
//! `streams/engine/decode.py` is the definition. Whatever is not certain to be accepted there, with the very same
//! values, gives `None` here, and Python looks at it: an escape, a character beyond ASCII, a nested value, a field that
//! comes twice, a number that is no plain one, a wrong type, a missing field, another type of event.

/// The end of the year 9999, epoch milliseconds.
const EPOCH_MS_MAX: i64 = 253_402_300_799_999;
const IDENTIFIER_MAX: usize = 128;
const TEXT_MAX: usize = 1000;
/// More digits than these may not fit into 64 bits.
const DIGITS_MAX: usize = 18;

pub const ROLES: &[&[u8]] = &[b"agent", b"qa"];
pub const SOURCES: &[&[u8]] = &[b"qa", b"audit", b"consensus", b"gold"];
pub const SAMPLINGS: &[&[u8]] = &[b"random", b"stratified", b"targeted", b"full", b"unknown"];
pub const PURPOSES: &[&[u8]] = &[b"production", b"gold", b"calibration", b"training", b"test"];
const SEVERITIES: &[&[u8]] = &[b"minor", b"major", b"critical"];
const STATES: &[&[u8]] = &[b"productive", b"available", b"break", b"training", b"meeting", b"offline"];
const ORGANISATIONS: &[&[u8]] = &[b"vendor", b"client"];

/// A text, or none, which stands for a default.
pub type Text<'a> = Option<&'a [u8]>;

pub struct Label<'a> {
    pub skipped: bool,
    pub handle_ms: Option<i64>,
    pub label: Text<'a>,
}

pub struct Review<'a> {
    pub task_id: &'a [u8],
    pub reviewer_id: Text<'a>,
    pub role: Text<'a>,
    pub source: Text<'a>,
    pub sampling: Text<'a>,
    pub purpose: Text<'a>,
    pub review_round: Option<i64>,
    pub correct: bool,
    pub label: Text<'a>,
    pub stratum: Text<'a>,
    pub error_type: Text<'a>,
    pub severity: Text<'a>,
    pub labeled_at: Option<i64>,
    pub review_ms: Option<i64>,
}

pub enum Kind<'a> {
    Label(Label<'a>),
    Review(Review<'a>),
    /// What a person's state is from now on.
    State(&'a [u8]),
}

pub struct Event<'a> {
    pub event_id: &'a [u8],
    pub at: i64,
    pub site_id: &'a [u8],
    pub agent_id: &'a [u8],
    /// Always there but for a state.
    pub project_id: Text<'a>,
    pub market: Text<'a>,
    pub sop_version: Text<'a>,
    pub kind: Kind<'a>,
}

#[derive(Clone, Copy, PartialEq)]
enum Value<'a> {
    Absent,
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a [u8]),
}

/// What a field of `schemas/events.py` may hold.
#[derive(Clone, Copy)]
enum Rule {
    Required,
    Identifier,
    FreeText,
    OneOf(&'static [&'static [u8]]),
    Epoch,
    Duration,
    Positive,
    Ratio,
    PositiveRatio,
    Flag,
    /// Only absent or null: what it holds else is for Python.
    Nothing,
}

/// All fields, and the rule of each for labels, reviews and states, where those have it.
macro_rules! fields {
    ($($field:ident $name:literal $label:expr, $review:expr, $state:expr;)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[derive(Clone, Copy)]
        enum Field { $($field),* }
        const FIELDS: usize = [$(Field::$field),*].len();
        const OF_LABEL: [Option<Rule>; FIELDS] = [$($label),*];
        const OF_REVIEW: [Option<Rule>; FIELDS] = [$($review),*];
        const OF_STATE: [Option<Rule>; FIELDS] = [$($state),*];
        fn field(name: &[u8]) -> Option<Field> {
            match name { $($name => Some(Field::$field),)* _ => None }
        }
    };
}

use Rule::{Duration, Epoch, Flag, FreeText, Identifier, Nothing, OneOf, Positive, PositiveRatio, Ratio, Required};

fields! {
    Type b"type" Some(Required), Some(Required), Some(Required);
    EventId b"event_id" Some(Required), Some(Required), Some(Required);
    At b"at" Some(Epoch), Some(Epoch), Some(Epoch);
    SiteId b"site_id" Some(Required), Some(Required), Some(Required);
    AgentId b"agent_id" Some(Required), Some(Required), Some(Required);
    ProjectId b"project_id" Some(Required), Some(Required), Some(Identifier);
    TaskId b"task_id" Some(Required), Some(Required), None;
    Label b"label" Some(FreeText), Some(FreeText), None;
    HandleMs b"handle_ms" Some(Duration), None, None;
    Market b"market" Some(Identifier), Some(Identifier), None;
    SopVersion b"sop_version" Some(Identifier), Some(Identifier), None;
    Skipped b"skipped" Some(Flag), None, None;
    SkipReason b"skip_reason" Some(FreeText), None, None;
    LabelId b"label_id" Some(Identifier), Some(Identifier), None;
    Attempt b"attempt" Some(Positive), None, None;
    Purpose b"purpose" Some(OneOf(PURPOSES)), Some(OneOf(PURPOSES)), None;
    RequestId b"request_id" Some(Identifier), Some(Identifier), None;
    Queue b"queue" Some(Identifier), Some(Identifier), Some(Identifier);
    ContentType b"content_type" Some(Identifier), Some(Identifier), None;
    Language b"language" Some(Identifier), Some(Identifier), None;
    Skill b"skill" Some(Identifier), Some(Identifier), None;
    Stratum b"stratum" Some(Identifier), Some(Identifier), None;
    PolicyCode b"policy_code" Some(Identifier), None, None;
    ShiftId b"shift_id" Some(Identifier), None, Some(Identifier);
    Prelabel b"prelabel" Some(FreeText), None, None;
    ReviewerId b"reviewer_id" None, Some(Identifier), None;
    Sampling b"sampling" None, Some(OneOf(SAMPLINGS)), None;
    Correct b"correct" None, Some(Flag), None;
    Expected b"expected" None, Some(FreeText), None;
    ErrorType b"error_type" None, Some(Identifier), None;
    Severity b"severity" None, Some(OneOf(SEVERITIES)), None;
    LabeledAt b"labeled_at" None, Some(Epoch), None;
    Role b"role" None, Some(OneOf(ROLES)), None;
    Verdict b"verdict" None, Some(Flag), None;
    ReviewId b"review_id" None, Some(Identifier), None;
    ReviewRound b"review_round" None, Some(Positive), None;
    ReviewerOrg b"reviewer_org" None, Some(OneOf(ORGANISATIONS)), None;
    ReviewerSiteId b"reviewer_site_id" None, Some(Identifier), None;
    Source b"source" None, Some(OneOf(SOURCES)), None;
    SamplingRate b"sampling_rate" None, Some(PositiveRatio), None;
    Blind b"blind" None, Some(Flag), None;
    Score b"score" None, Some(Ratio), None;
    Errors b"errors" None, Some(Nothing), None;
    ReviewMs b"review_ms" None, Some(Duration), None;
    ReviewSopVersion b"review_sop_version" None, Some(Identifier), None;
    State b"state" None, None, Some(OneOf(STATES));
    Reason b"reason" None, None, Some(FreeText);
    Paid b"paid" None, None, Some(Flag);
    Estimated b"estimated" None, None, Some(Nothing);
}

fn is_allowed(rule: Rule, value: Value) -> bool {
    let identifier = |text: &[u8]| (1..=IDENTIFIER_MAX).contains(&text.len());
    match (rule, value) {
        (Required, Value::Text(text)) => identifier(text),
        (Required, _) => false,
        (_, Value::Null) => true,
        (Identifier, Value::Text(text)) => identifier(text),
        (FreeText, Value::Text(text)) => text.len() <= TEXT_MAX,
        (OneOf(choices), Value::Text(text)) => choices.contains(&text),
        (Epoch, Value::Int(ms)) => ms <= EPOCH_MS_MAX,
        (Duration, Value::Int(_)) => true,
        (Positive, Value::Int(number)) => (1..=1_000_000).contains(&number),
        (Ratio, Value::Int(number)) => number <= 1,
        (Ratio, Value::Float(number)) => number <= 1.0,
        (PositiveRatio, Value::Int(number)) => number == 1,
        (PositiveRatio, Value::Float(number)) => number > 0.0 && number <= 1.0,
        (Flag, Value::Bool(_)) => true,
        _ => false,
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Past blanks, one byte that must be there, and blanks again.
    fn mark(&mut self, mark: u8) -> Option<()> {
        self.blanks();
        (self.peek()? == mark).then_some(())?;
        self.at += 1;
        self.blanks();
        Some(())
    }

    /// A text of printable ASCII without an escape.
    fn text(&mut self) -> Option<&'a [u8]> {
        (self.peek()? == b'"').then_some(())?;
        let start = self.at + 1;
        let rest = self.bytes.get(start..)?;
        let length = rest.iter().position(|byte| !matches!(byte, b' '..=b'!' | b'#'..=b'[' | b']'..=b'~'))?;
        (rest[length] == b'"').then_some(())?;
        self.at = start + length + 1;
        Some(&rest[..length])
    }

    fn literal(&mut self, text: &[u8], value: Value<'a>) -> Option<Value<'a>> {
        self.bytes.get(self.at..)?.starts_with(text).then_some(())?;
        self.at += text.len();
        Some(value)
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    /// A number that is not negative and has no exponent.
    fn number(&mut self) -> Option<Value<'a>> {
        let start = self.at;
        let digits = self.digits();
        let leading_zero = digits > 1 && self.bytes[start] == b'0';
        ((1..=DIGITS_MAX).contains(&digits) && !leading_zero).then_some(())?;
        match self.peek()? {
            b'e' | b'E' => None,
            b'.' => {
                self.at += 1;
                let decimals = self.digits();
                (decimals > 0 && !matches!(self.peek()?, b'e' | b'E')).then_some(())?;
                let text = std::str::from_utf8(&self.bytes[start..self.at]).ok()?;
                Some(Value::Float(text.parse().ok()?))
            }
            _ => {
                let digits = &self.bytes[start..self.at];
                let number = digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
                Some(Value::Int(number))
            }
        }
    }

    fn value(&mut self) -> Option<Value<'a>> {
        match self.peek()? {
            b'"' => self.text().map(Value::Text),
            b'0'..=b'9' => self.number(),
            b't' => self.literal(b"true", Value::Bool(true)),
            b'f' => self.literal(b"false", Value::Bool(false)),
            b'n' => self.literal(b"null", Value::Null),
            _ => None,
        }
    }
}

/// The label, review or state of a record; `None` where Python must look.
pub fn parse(bytes: &[u8]) -> Option<Event<'_>> {
    let mut values = [Value::Absent; FIELDS];
    let mut met = [0u8; FIELDS];
    let mut count = 0;
    let mut cursor = Cursor { bytes, at: 0 };
    cursor.mark(b'{')?;
    loop {
        let name = cursor.text()?;
        cursor.mark(b':')?;
        let value = cursor.value()?;
        if let Some(field) = field(name) {
            let place = field as usize;
            (values[place] == Value::Absent).then_some(())?;
            values[place] = value;
            met[count] = place as u8;
            count += 1;
        }
        cursor.blanks();
        let mark = cursor.peek()?;
        cursor.at += 1;
        match mark {
            b',' => cursor.blanks(),
            b'}' => break,
            _ => return None,
        }
    }
    cursor.blanks();
    (cursor.at == bytes.len()).then_some(())?;

    let Value::Text(name) = values[Field::Type as usize] else { return None };
    let rules = match name {
        b"label_submitted" => &OF_LABEL,
        b"label_reviewed" => &OF_REVIEW,
        b"state_changed" => &OF_STATE,
        _ => return None,
    };
    for &place in &met[..count] {
        // A field of another type is none of this one's: whatever it holds is passed over.
        if let Some(rule) = rules[usize::from(place)] {
            is_allowed(rule, values[usize::from(place)]).then_some(())?;
        }
    }

    let text = |field: Field| match values[field as usize] {
        Value::Text(text) => Some(text),
        _ => None,
    };
    let int = |field: Field| match values[field as usize] {
        Value::Int(number) => Some(number),
        _ => None,
    };
    let flag = |field: Field| match values[field as usize] {
        Value::Bool(flag) => Some(flag),
        _ => None,
    };
    let kind = if name == b"state_changed" {
        Kind::State(text(Field::State)?)
    } else if name == b"label_submitted" {
        text(Field::ProjectId)?;
        text(Field::TaskId)?;
        Kind::Label(Label {
            skipped: flag(Field::Skipped).unwrap_or(false),
            handle_ms: int(Field::HandleMs),
            label: text(Field::Label),
        })
    } else {
        text(Field::ProjectId)?;
        Kind::Review(Review {
            task_id: text(Field::TaskId)?,
            reviewer_id: text(Field::ReviewerId),
            role: text(Field::Role),
            source: text(Field::Source),
            sampling: text(Field::Sampling),
            purpose: text(Field::Purpose),
            review_round: int(Field::ReviewRound),
            correct: flag(Field::Correct)?,
            label: text(Field::Label),
            stratum: text(Field::Stratum),
            error_type: text(Field::ErrorType),
            severity: text(Field::Severity),
            labeled_at: int(Field::LabeledAt),
            review_ms: int(Field::ReviewMs),
        })
    };
    Some(Event {
        event_id: text(Field::EventId)?,
        at: int(Field::At)?,
        site_id: text(Field::SiteId)?,
        agent_id: text(Field::AgentId)?,
        project_id: text(Field::ProjectId),
        market: text(Field::Market),
        sop_version: text(Field::SopVersion),
        kind,
    })
}
