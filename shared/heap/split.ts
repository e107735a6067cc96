import { type NodePath, parseSync, traverse, type types } from '@babel/core'

// A script's functions that no usual call runs, and its tables that none reads, in groups that are compiled when the
// first of theirs is wanted. A table is made property by property, at every start, before anybody reads it. And V8
// keeps something of each function of a script, compiled or not, and takes all of that out of the code cache at every
// start: half of what a call of a plugin took out was of functions that it does not run.
//
// What a script means does not depend on what is moved: only functions and plain values of the script's own scope are,
// which nothing assigns to, and they see the same variables from there. `marked` finds out which ones calls use.

/** The script, with a note in `told.ran` of each of its functions that runs and each table that is read; how many. */
export function marked(script: string): { readonly text: string; readonly marks: number } {
  const { all } = parsed(script)
  const edits = all.flatMap((one, index) => notes(one, `told.ran[${index}]=1`))
  return { text: edited(script, edits), marks: all.length }
}

/** The script, with the functions and tables that were not used in groups. @param ran of each whether it was */
export function split(script: string, ran: readonly boolean[]): string {
  const { all, first } = parsed(script)
  const runs = new Set<types.Node>(all.flatMap(({ code }, index) => (code && ran[index] ? [code.node] : [])))
  const groups = grouped(all.filter((one, index) => !ran[index] && isMovable(one, runs)))
  const groupOf = new Map<types.Node, number>(
    groups.flatMap((group, index) => group.map(({ whole }) => [whole.node, index] as const)),
  )
  const groupAround = (path: NodePath) => groupOf.get(path.find(({ node }) => groupOf.has(node))?.node as types.Node)
  const renames: Edit[] = []
  const texts = groups.map((group, index) => {
    const others = group.map(({ references }) => references.filter((one) => groupAround(one) !== index))
    const shown = group.filter((_, at) => others[at]?.length).map(({ name }) => name)
    renames.push(...group.flatMap(({ name }, at) => (others[at] ?? []).map((one) => renamed(one, name, index))))
    return { group, shown }
  })
  const added = texts.map(({ group, shown }, index) => {
    const bodies = group.map(({ whole, statement }) => {
      const body = editedPart(script, placeOf(whole.node), renames)
      return statement ? `var ${body};` : body
    })
    const held = `var ${rare}={${shown.join(',')}};${rare}${index}=()=>${rare};return ${rare}`
    return `function ${rare}${index}(){${bodies.join('')}${held}}`
  })
  const moved = groups.flat()
  const places = moved.map(({ whole }) => placeOf(whole.node))
  const stays = ({ start }: Edit) => !places.some((place) => start >= place.start && start < place.end)
  return edited(script, [
    { start: first, end: first, text: added.join('') },
    ...moved.filter(({ statement }) => !statement).map(({ whole }) => ({ ...placeOf(whole.node), text: '' })),
    ...declarationsWithout(moved, groupOf),
    ...renames.filter(stays),
  ])
}

// --- internal

/** What esbuild gives no name: a function rare0 makes those of the first group, once, and returns them by name. */
const rare = '$rare'

/** Characters of a group, or more: what compiling one of its functions goes through. */
const groupSize = 4_000

type Code = NodePath<types.Function>

/** A function of the script's own scope, or a table. */
interface Named {
  readonly name: string
  /** Of a function. */
  readonly code?: Code | undefined
  /** Its declaration, or its part of the declaration of variables `statement`. */
  readonly whole: NodePath
  readonly statement?: NodePath<types.VariableDeclaration>
  readonly references: readonly NodePath[]
}

interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** @throws where it is not one function, or uses a name that this file gives */
function parsed(script: string): { readonly all: readonly Named[]; readonly first: number } {
  const tree = parseSync(script, { sourceType: 'script', configFile: false, babelrc: false })
  if (!tree) throw new Error('a script is empty')
  const found: Code[] = []
  traverse(tree, {
    Function(path) {
      found.push(path as Code)
      path.stop()
    },
  })
  const [top] = found
  const body = top?.get('body')
  if (!(top && body && !Array.isArray(body) && body.isBlockStatement())) throw new Error('a script is no function')
  if (script.includes(rare)) throw new Error(`a script has the name ${rare} already`)
  const all = body.get('body').flatMap((statement) => namedIn(statement, top))
  return { all, first: placeOf(body.get('body')[0]?.node).start }
}

function namedIn(statement: NodePath<types.Statement>, top: Code): Named[] {
  const named = (id: types.Node | null | undefined, more: Omit<Named, 'name' | 'references'>): Named[] => {
    if (id?.type !== 'Identifier') return []
    const binding = top.scope.getOwnBinding(id.name)
    const isConstant = binding?.constantViolations.length === 0
    return isConstant ? [{ name: id.name, ...more, references: binding.referencePaths }] : []
  }
  if (statement.isFunctionDeclaration()) return named(statement.node.id, { code: statement, whole: statement })
  if (!statement.isVariableDeclaration()) return []
  return statement.get('declarations').flatMap((whole) => {
    const code = whole.get('init')
    const isFunction = code.isArrowFunctionExpression() || code.isFunctionExpression()
    if (isFunction) return named(whole.node.id, { code, whole, statement })
    return isTable(code.node) ? named(whole.node.id, { whole, statement }) : []
  })
}

/** Whether a value is an object or a list, and making it does nothing else and is the same at any time. */
function isTable(node: types.Node | null | undefined): boolean {
  return (node?.type === 'ObjectExpression' || node?.type === 'ArrayExpression') && isPlain(node)
}

function isPlain(node: types.Node | null): boolean {
  switch (node?.type) {
    case 'StringLiteral':
    case 'NumericLiteral':
    case 'BooleanLiteral':
    case 'NullLiteral':
    case 'BigIntLiteral':
    case 'ArrowFunctionExpression':
    case 'FunctionExpression':
      return true
    case 'UnaryExpression':
      return isPlain(node.argument)
    case 'ArrayExpression':
      return node.elements.every(isPlain)
    case 'ObjectExpression':
      return node.properties.every((one) => {
        if (one.type === 'SpreadElement' || (one.computed && !isPlain(one.key))) return false
        return one.type === 'ObjectMethod' || isPlain(one.value)
      })
    default:
      return false
  }
}

/** What makes a function note that it runs, a table that it is read. */
function notes({ name, code, references }: Named, note: string): readonly Edit[] {
  if (!code) return references.map((one) => ({ ...placeOf(one.node), text: shownAs(one, name, `(${note},${name})`) }))
  const { start, end } = placeOf(code.node.body)
  const inserted = (at: number, text: string): Edit => ({ start: at, end: at, text })
  return code.node.body.type === 'BlockStatement'
    ? [inserted(start + 1, `${note};`)]
    : [inserted(start, `(${note},`), inserted(end, ')')]
}

/** Whether nothing that runs has to have the function but to call it; nothing that was run has read a table. */
function isMovable({ code, references }: Named, runs: ReadonlySet<types.Node>): boolean {
  if (!code) return true
  return references.every((one) => {
    const owners = ownersOf(one)
    // The last one is the script itself.
    const isRun = owners.length < 2 || runs.has(owners.at(-2) as types.Node)
    return !isRun || isCallee(one)
  })
}

function isCallee({ parentPath, key }: NodePath): boolean {
  return key === 'callee' && parentPath?.isCallExpression() === true
}

/** The functions around, from the inner ones to the script itself. */
function ownersOf(path: NodePath): types.Node[] {
  const owners: types.Node[] = []
  for (let one = path.getFunctionParent(); one; one = one.getFunctionParent()) owners.push(one.node)
  return owners
}

/** Neighbours together, which are of one module or of related ones. */
function grouped(functions: readonly Named[]): readonly (readonly Named[])[] {
  const groups: Named[][] = []
  let size = groupSize
  for (const one of functions) {
    if (size >= groupSize) {
      groups.push([])
      size = 0
    }
    groups.at(-1)?.push(one)
    const { start, end } = placeOf(one.whole.node)
    size += end - start
  }
  return groups
}

/** A reference from outside its group to what was moved. */
function renamed(reference: NodePath, name: string, group: number): Edit {
  return { ...placeOf(reference.node), text: shownAs(reference, name, `${rare}${group}().${name}`) }
}

/** The text in the place of a reference, which may stand for a property of its name, too. */
function shownAs({ parentPath }: NodePath, name: string, text: string): string {
  return parentPath?.isObjectProperty() && parentPath.node.shorthand ? `${name}:${text}` : text
}

/** The declarations of variables of which some are moved, without those. */
function declarationsWithout(moved: readonly Named[], inside: ReadonlyMap<types.Node, number>): Edit[] {
  const statements = new Set(moved.flatMap(({ statement }) => statement?.node ?? []))
  return [...statements].flatMap((statement) => {
    const isMoved = (one: types.VariableDeclarator) => inside.has(one)
    const all = statement.declarations
    if (all.every(isMoved)) return [{ ...placeOf(statement), text: '' }]
    const firstKept = all.findIndex((one) => !isMoved(one))
    return all.flatMap((one, index): Edit[] => {
      if (!isMoved(one)) return []
      const { start, end } = placeOf(one)
      // The comma before it goes, too, or, where nothing stays before it, the one behind.
      return index > firstKept
        ? [{ start: placeOf(all[index - 1]).end, end, text: '' }]
        : [{ start, end: placeOf(all[index + 1]).start, text: '' }]
    })
  })
}

function placeOf(node: types.Node | undefined): { readonly start: number; readonly end: number } {
  const { start, end } = node ?? {}
  if (typeof start !== 'number' || typeof end !== 'number') throw new Error('the parser says no place')
  return { start, end }
}

/** A part of a text, with those of the edits that lie in it. */
function editedPart(text: string, place: Omit<Edit, 'text'>, edits: readonly Edit[]): string {
  const inside = edits.filter(({ start, end }) => start >= place.start && end <= place.end)
  const moved = inside.map(({ start, end, text }) => ({ start: start - place.start, end: end - place.start, text }))
  return edited(text.slice(place.start, place.end), moved)
}

function edited(text: string, edits: readonly Edit[]): string {
  const sorted = edits.toSorted((one, other) => one.start - other.start || one.end - other.end)
  const parts: string[] = []
  let at = 0
  for (const { start, end, text: put } of sorted) {
    if (start < at) throw new Error(`two edits meet at ${start}`)
    parts.push(text.slice(at, start), put)
    at = end
  }
  return [...parts, text.slice(at)].join('')
}
