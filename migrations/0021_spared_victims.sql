-- A victim that nobody has asked to leave yet may stay when nobody needs its room any more: the preemptor has started
-- elsewhere, has ended, or has given its reservation back. A new value can be used only once it is committed: see 0022.
ALTER TYPE victim_outcome ADD VALUE 'EvictionCancelled';
