import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { compileEagerly } from './eager.js'

describe('functions are compiled with the script', () => {
  test.each([
    ['var a=x=>y=>x', 'var a=(x=>(y=>x))\n'],
    ['a(function(){},async()=>1)', 'a((function(){}),(async()=>1))\n'],
    ['var a={b(){},get c(){return()=>1},d:function(){}}', 'var a={b(){},get c(){return(()=>1)},d:(function(){})}\n'],
    ['class A{b(){}static c=()=>1}', 'class A{b(){}static c=(()=>1)}\n'],
    ['"use strict";b();function b(){}', '"use strict";\nvar b=(function b(){});\nb();\n'],
    ['var a=1;async function*b(){function c(){}}', 'var b=(async function*b(){function c(){}});\nvar a=1;\n'],
  ])('%s', (script, expected) => expect(compileEagerly(script)).toBe(expected))
})

test('a script does what it did', () => {
  const script =
    '"use strict";var n=twice(2),f=a=>b=>a+b;r=[n,f(1)(2),even(5),this===void 0];function twice(x){return 2*x}'
  const more = ';function even(x){return x===0||odd(x-1)}function odd(x){return x!==0&&even(x-1)}'
  const run = (text: string) => runInNewContext(`var r;${text};r`) as unknown
  expect(run(compileEagerly(script + more))).toEqual(run(script + more))
  expect(run(script + more)).toEqual([4, 3, false, false])
})
