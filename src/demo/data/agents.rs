//! The fifteen callers: eleven people and an assistant that work, and three who have left.

/// `(key, name, role, active)`; the key names a caller inside the sample only.
pub(super) const AGENTS: [(&str, &str, &str, bool); 15] = [
    ("camille", "Camille Ferrand", "team_lead", true),
    ("yasmine", "Yasmine Benali", "caller", true),
    ("thomas", "Thomas Vuillermoz", "caller", true),
    ("ines", "Inès Da Costa", "caller", true),
    ("jerome", "Jérôme Perrachon", "caller", true),
    ("sophie", "Sophie Lemaître", "caller", true),
    ("mehdi", "Mehdi Haddad", "caller", true),
    ("anne-laure", "Anne-Laure Gonnet", "caller", true),
    ("luca", "Luca Moretti", "caller", true),
    ("maelle", "Maëlle Le Goff", "caller", true),
    ("rachel", "Rachel Hughes", "caller", true),
    ("lumen", "Assistant Lumen", "ai_caller", true),
    ("bruno", "Bruno Chapuis", "caller", false),
    ("nadia", "Nadia Toumi", "caller", false),
    ("florian", "Florian Berthod", "team_lead", false),
];
