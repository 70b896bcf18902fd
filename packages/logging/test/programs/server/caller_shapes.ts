/* oxlint-disable no-eval, typescript/no-implied-eval, require-yield -- Lines log where their messages say, eval too. */
import { EventEmitter, once } from "node:events";
import { runInThisContext } from "node:vm";
import { createLogger } from "@vg/logging";

const base = createLogger({ caller: "all" });

// What logs for others.
function say(message: string): void {
  inner.info(message);
}
function outermost(message: string): void {
  say(message);
}
class Facade {
  say(message: string): void {
    inner.child({ a: 1 }).info(message);
  }
  pino(message: string): void {
    inner.pino.child({ b: 1 }).info(message);
  }
}
async function later(message: string): Promise<void> {
  await Promise.resolve();
  inner.info(message); // 25
}
const inner = base.withWrapper(outermost, say, Facade.prototype.say);

say("wrapper 29");
outermost("two wrappers 30");
new Facade().say("method 31");
new Facade().pino("not named 20");
inner.info("outside of them 33");
await later("after an await 25");
[1].forEach(() => say("in a callback 35"));
[1].forEach(say.bind(null, "bound 36"));

// Who calls.
const emitter = new EventEmitter().on("event", base.info);
emitter.emit("event", "listener 40");
["called by forEach 41"].forEach((message) => base.info(message));
["passed to forEach 42"].forEach(base.info as (message: string) => void);
setImmediate(base.info as (message: string) => void, "by Node itself");
await once(setTimeoutEmitter(), "done");
function setTimeoutEmitter(): EventEmitter {
  const done = new EventEmitter();
  setTimeout(() => {
    base.info("in a timer 48");
    done.emit("done");
  }, 1);
  return done;
}
class Thing {
  static {
    base.info("in a static block 55");
  }
  field = base.info("in a field 57");
  get property(): number {
    base.info("in a getter 59");
    return 1;
  }
}
void new Thing().property;
void [
  ...(function* () {
    base.info("in a generator 66");
  })(),
];
await (async () => {
  await Promise.resolve();
  base.info("in an arrow after an await 71");
})();

// Code that has no file.
eval('base.info("in eval 75")');
new Function("base", 'base.info("in new Function 76")')(base);
eval("eval('base.info(\"in eval in eval 77\")')");
eval('\n\nbase.info("named eval made.js:3") //# sourceURL=made.js');
Object.assign(globalThis, { base });
runInThisContext('base.info("Windows")', { filename: "C:\\srv\\app\\server\\chat.ts", lineOffset: 6 });
runInThisContext('base.info("Windows URL")', { filename: "file:///C:/srv/a%20b/server%20x/chat.ts?v=1#x" });
runInThisContext('base.info("odd URL")', { filename: "file:///%ZZ/chat.ts" });
runInThisContext('base.info("other URL")', { filename: "webpack://app/./src/chat.ts?abcd" });
runInThisContext('base.info("forged")', { filename: 'x/a\n{"level":"fatal"}\u001b[31m' });
