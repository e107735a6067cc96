import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Definition, Ended, fine, wrong } from './frame/command.js'
import { jsonSchemaOf, schemaNames } from './schema/schemas.js'

/** `podwire schema [NAME]`: JSON Schemas for editors, of the plugins' own schemas. */
export default {
  name: 'schema',
  summary: 'print the JSON Schema (2020-12) of a plugin, of any configuration, or of a list',
  details: [
    'An editor that knows JSON Schema completes keys, says what they mean and marks mistakes. What the schema cannot ' +
      'say (subnets that overlap, keys that exclude each other) podwire lint does.',
  ],
  arguments: [
    {
      words: '[name]',
      what: 'a plugin, "configuration" (.conf) or "list" (.conflist); without one it is "list"',
      values: () => schemaNames,
    },
  ],
  options: [{ flags: '--to <dir>', what: 'write every schema into this folder, as NAME.schema.json' }],
  examples: [
    { line: 'podwire schema bridge', what: 'prints the schema of the plugin bridge' },
    { line: 'podwire schema --to /usr/local/share/podwire/schemas', what: 'writes all of them, for an editor' },
  ],
  run: ({ words: [name = 'list'], options: { to }, console }) => {
    if (typeof to === 'string') {
      mkdirSync(to, { recursive: true })
      for (const one of schemaNames) writeFileSync(path.join(to, `${one}.schema.json`), `${text(one)}\n`)
      return fine
    }
    if (!schemaNames.includes(name)) {
      throw new Ended(wrong, `there is no schema "${name}": ${schemaNames.join(', ')}`)
    }
    console.write(text(name))
    return fine
  },
} satisfies Definition

// --- internal

function text(name: string): string {
  return JSON.stringify(jsonSchemaOf(name), null, 2)
}
