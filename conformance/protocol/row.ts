import { expect } from 'vitest'
import { errorOf, resultOf } from '../harness/answer.js'
import type { Call } from '../harness/plugin.js'
import type { Finished } from '../harness/process.js'

/** What a call must answer: nothing, a result, an exact text, or an error. */
export type Answer =
  | { is: 'silence' }
  | { is: 'result' }
  | { is: 'output'; stdout: string }
  | { is: 'about'; stderr: RegExp }
  | { is: 'error'; code: number; msg: string; details?: string }
  | { is: 'own'; codes: readonly number[]; official?: string; mentions?: string }
  | { is: 'crash' }
  | { is: 'twoDocuments'; code: number }

/** One line of the malformed-input table: a call, what the official plugin answers, and what podwire answers. */
export interface Row {
  name: string
  call: Partial<Call>
  official: Answer
  podwire: Answer
  /** Why podwire's answer is another one on purpose; rows without it must not differ in exit status. */
  differs?: string
}

export const silence: Answer = { is: 'silence' }
export const result: Answer = { is: 'result' }

/** An error whose text is part of the protocol library and thus literally the same in both suites. */
export function literal(name: string, call: Partial<Call>, code: number, msg: string, details?: string): Row {
  const answer: Answer = { is: 'error', code, msg, ...(details !== undefined && { details }) }
  return { name, call, official: answer, podwire: answer }
}

/** The same answer of both suites that is no error. */
export function same(name: string, call: Partial<Call>, answer: Answer): Row {
  return { name, call, official: answer, podwire: answer }
}

/**
 * An error of a plugin's own (999 and a text in the official suite): podwire has the text in its own, and a code that
 * has a meaning.
 */
export function own(name: string, call: Partial<Call>, official: string, codes: number[], mentions?: string): Row {
  const answer: Answer = { is: 'own', codes, official, ...(mentions !== undefined && { mentions }) }
  return { name, call, official: { is: 'error', code: 999, msg: official }, podwire: answer }
}

/** A row where podwire answers otherwise on purpose. */
export function differing(
  name: string,
  call: Partial<Call>,
  differs: string,
  answers: Record<'official' | 'podwire', Answer>,
): Row {
  return { name, call, differs, ...answers }
}

type Holder<Kind extends Answer['is']> = (
  finished: Finished,
  answer: Extract<Answer, { is: Kind }>,
  who: string,
) => void

// How a finished call is held against each kind of answer; `who` begins every message of podwire's own.
const holders: { [Kind in Answer['is']]: Holder<Kind> } = {
  silence: (finished) => {
    expect(finished).toMatchObject({ status: 0, stdout: '' })
  },
  about: (finished, { stderr }) => {
    expect(finished).toMatchObject({ status: 0, stdout: '' })
    expect(finished.stderr).toMatch(stderr)
  },
  output: (finished, { stdout }) => {
    expect(finished).toMatchObject({ status: 0, stdout })
  },
  result: (finished) => {
    expect(resultOf(finished).cniVersion).not.toBe('')
  },
  crash: (finished) => {
    expect(finished).toMatchObject({ status: 2, stdout: '' })
  },
  twoDocuments: (finished, { code }) => {
    expect(finished.status).toBe(1)
    expect(finished.stdout).toMatch(new RegExp(`^\\{[^]*\\}\\{\\s*"code": ${code},`))
  },
  error: (finished, { is: _, ...error }) => {
    const { code, msg, details } = errorOf(finished)
    expect({ code, msg, ...(details && { details }) }).toEqual(error)
  },
  own: (finished, { codes, official = '', mentions = '' }, who) => {
    const error = errorOf(finished)
    expect(codes, JSON.stringify(error)).toContain(error.code)
    expect(error.msg.slice(0, who.length)).toBe(who)
    expect(error.msg).toContain(official)
    expect(`${error.msg}\n${error.details}`).toContain(mentions)
  },
}

/** Holds a finished call of a plugin against the answer that is asked for. */
export function expectAnswer(finished: Finished, answer: Answer, plugin: string, network: string): void {
  const hold = holders[answer.is] as Holder<Answer['is']>
  hold(finished, answer, `${plugin}: network "${network}": `)
}
