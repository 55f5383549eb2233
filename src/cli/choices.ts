/** Words that arguments and options take; apart from what uses them, so that the commands' definitions load fast. */
export const usageKeys = ["subtree", "project", "owner", "pool", "day"] as const;
export type UsageKey = (typeof usageKeys)[number];

export const verbs = ["view", "submit", "administer"] as const;
export type Verb = (typeof verbs)[number];

export const topics = ["pools", "nodes"] as const;
export type Topic = (typeof topics)[number];
