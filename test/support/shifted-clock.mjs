/** With node --import: the wall clock of the process is SHIFT_SECONDS ahead, or behind; the monotonic clock and timers are not. */
const milliseconds = Number(process.env.SHIFT_SECONDS ?? 0) * 1000;
const RealDate = Date;
const realNow = RealDate.now.bind(RealDate);
globalThis.Date = class extends RealDate {
  constructor(...given) {
    if (given.length === 0) super(realNow() + milliseconds);
    else super(...given);
  }
  static now() {
    return realNow() + milliseconds;
  }
};
const { Now } = Temporal;
const realInstant = Now.instant.bind(Now);
const zoneOf = Now.timeZoneId.bind(Now);
const instant = () => realInstant().add({ milliseconds });
Object.defineProperty(Now, "instant", { value: instant });
Object.defineProperty(Now, "zonedDateTimeISO", {
  value: (zone = zoneOf()) => instant().toZonedDateTimeISO(zone),
});
