import { expect, test } from 'vitest'
import type { Outcome } from '../exec/command.js'
import { answersArp } from './arping.js'

function asking(outcome: Partial<Outcome>, netns?: string) {
  let line = ''
  const run = ({ argv }: { argv: readonly string[] }) => {
    line = argv.join(' ')
    return { status: 0, signal: null, stdout: '', stderr: '', ...outcome }
  }
  return { answers: () => answersArp(run, '192.0.2.7', 'eth0', netns), line: () => line }
}

test('asks on the link, in its namespace', () => {
  const { answers, line } = asking({}, '/run/netns/a')
  expect(answers()).toBe(false)
  expect(line()).toBe('nsenter --net=/run/netns/a arping -D -c 2 -w 2 -I eth0 192.0.2.7')
})

test('a reply is an answer; a failure is none, and says what to do', () => {
  expect(asking({ status: 1, stdout: 'Unicast reply from 192.0.2.7' }).answers()).toBe(true)
  expect(asking({ status: 1, stderr: 'no such device' }).answers).toThrow('cannot ask who has 192.0.2.7')
  expect(asking({ status: 127 }, '/run/netns/a').answers).toThrow('"arping" is not installed')
  expect(asking({ status: null, failure: 'ENOENT' }).answers).toThrow('"arping" is not installed')
})
