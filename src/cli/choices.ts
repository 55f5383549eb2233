/** Values of arguments and options, apart from the commands that use them: the definitions must load fast. */
export const usageKeys = ["subtree", "project", "owner", "pool", "day"] as const;
export type UsageKey = (typeof usageKeys)[number];

export const verbs = ["view", "submit", "administer"] as const;
export type Verb = (typeof verbs)[number];

export const topics = ["pools", "nodes"] as const;
export type Topic = (typeof topics)[number];
