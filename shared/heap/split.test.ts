import { runInThisContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { marked, split } from './split.js'

// Scripts as bundle.ts makes them; `told.say` takes what one has to tell.

function scriptOf(body: string): string {
  return `(function(require,told){"use strict";${body}})\n`
}

/** What a script says, and which of its functions ran. */
function outcome(script: string, marks = 0) {
  const said: unknown[] = []
  const ran = new Uint8Array(marks)
  runInThisContext(script)(undefined, { say: (one: unknown) => said.push(one), ran })
  return { said, ran: Array.from(ran, (mark) => mark === 1) }
}

/** The names that a script's own scope declares as functions. */
function declared(script: string): readonly string[] {
  const withoutGroups = script.replace(/function \$rare\d+\(\)\{.*?return \$rare\}/gs, '')
  return [...withoutGroups.matchAll(/function (\w+)\(|(?:var |,)(\w+)=(?:\(|\w+=>)/g)].map(
    ([, one, other]) => one ?? other ?? '',
  )
}

const rows: Record<string, { body: string; stay: readonly string[] }> = {
  'a function that is never called goes': {
    body: 'function used(){return 1}function idle(){return 2}told.say(used())',
    stay: ['used'],
  },
  'one that a call may still need is made when it is called': {
    body: 'function used(x){return x>5?idle(x):x}function idle(x){return other(x)+1}function other(x){return x*2}told.say(used(told.x??1))',
    stay: ['used'],
  },
  'one that is handed on without being called stays': {
    body: 'function used(){return{idle}}function idle(){return 2}told.say(Object.keys(used()))',
    stay: ['used', 'idle'],
  },
  'one that only an idle function hands on goes': {
    body: 'function used(){return 1}function idle(){return{other,list:[1].map(other)}}function other(){return 2}told.say(used())',
    stay: ['used'],
  },
  'one that is assigned to stays': {
    body: 'function used(){return 1}function idle(){idle=()=>3;return 2}told.say(used())',
    stay: ['used', 'idle'],
  },
  'variables go without their neighbours': {
    body: 'var first=()=>1,used=()=>2,idle=x=>3,last=4;var alone=()=>5;told.say(used()+last)',
    stay: ['used'],
  },
  'what holds only idle functions goes whole': {
    body: 'var first=()=>1,second=x=>2;told.say(3)',
    stay: [],
  },
  'a name inside means what it meant': {
    body: 'function used(idle){return idle+1}function idle(){return 2}told.say(used(3))',
    stay: ['used'],
  },
  'a table that is read by nobody is made where it is read': {
    body: 'var table={a:1,[-2]:x=>x,list:[1,{b:2}]},other={a:3};function used(x){return x?table.a:other.a}told.say(used(told.x))',
    stay: ['used'],
  },
  'a table that is read stays what it is, also when it is changed': {
    body: 'var table={a:1};function used(){table.a++;return idle()}function idle(){return{table}}told.say([used(),used().table.a])',
    stay: ['used', 'idle'],
  },
}

/** Rows without a table among what goes. */
const values: Record<string, string> = {
  'what is made by a call is no table': 'var made=[told.never,{a:idle()}];function idle(){return 2}told.say(3)',
  'nor is what is assigned to': 'var made={a:1};function idle(){made={a:2}}told.say(3)',
}

describe('split', () => {
  test.each(Object.entries(rows))('%s', (_, { body, stay }) => {
    const script = scriptOf(body)
    const { text, marks } = marked(script)
    const first = outcome(text, marks)
    const made = split(script, first.ran)
    expect(declared(made)).toEqual(stay)
    expect(outcome(made).said).toEqual(outcome(script).said)
    expect(first.said).toEqual(outcome(script).said)
  })

  test.each(Object.entries(rows))('whatever is thought to run, the same is said: %s', (_, { body }) => {
    const script = scriptOf(body)
    const { marks } = marked(script)
    for (let which = 0; which < 2 ** marks; which++) {
      const ran = Array.from({ length: marks }, (_, index) => ((which >> index) & 1) === 1)
      expect(outcome(split(script, ran)).said, ran.join()).toEqual(outcome(script).said)
    }
  })

  test.each(Object.entries(values))('%s', (_, body) => {
    const script = scriptOf(body)
    const { text, marks } = marked(script)
    expect(split(script, outcome(text, marks).ran)).toContain('var made=')
  })

  test('a table goes from the script', () => {
    const script = scriptOf('var table={a:1},other={b:2};told.say(other.b)')
    const { text, marks } = marked(script)
    const made = split(script, outcome(text, marks).ran)
    expect(made).toMatch(
      /^\(function\(require,told\)\{"use strict";function \$rare0\(\)\{var table=\{a:1\};.*var other=/,
    )
    expect(outcome(made).said).toEqual([2])
  })

  test('groups are of neighbours, and call each other', () => {
    const filler = 'x'.repeat(3_000)
    const many = Array.from(
      { length: 9 },
      (_, n) => `function f${n}(){return "${filler}".length+${n < 8 ? `f${n + 1}()` : 0}}`,
    )
    const script = scriptOf(`${many.join('')}told.say(told.never?1:f0())`)
    const made = split(
      script,
      many.map(() => false),
    )
    expect(declared(made)).toEqual([])
    expect([...made.matchAll(/function \$rare\d/g)]).toHaveLength(5)
    expect(outcome(made).said).toEqual([27_000])
  })

  test('where all runs the script is as it was', () => {
    const script = scriptOf('function used(){return 1}told.say(used())')
    expect(split(script, [true])).toBe(script)
  })

  test('a script that has the name of a group is refused', () => {
    expect(() => split(scriptOf('var $rare0=1;told.say($rare0)'), [])).toThrow('has the name $rare already')
  })
})
